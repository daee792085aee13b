"""Files that a run or a formation writes: no other result goes over them, or among them."""

from __future__ import annotations

from pathlib import Path

from kn_lightning.errors import InputError
from kn_lightning.files import check_replaceable
from kn_lightning.formation_tables import RECORD as FORMATION
from kn_lightning.remote_place import is_address
from kn_lightning.run_names import ENVIRONMENT, is_written

_RECORDS = {ENVIRONMENT: "a run", FORMATION: "a formation"}
"""The file that makes a folder known for what it holds."""


def check_no_run(flag: str, folder: Path) -> None:
    """Raise InputError where a run or a formation lies in a folder that is for something else."""
    if record := _record(folder):
        raise InputError(
            f"{flag} {folder}: {_RECORDS[record]} lies there ({record}); give a folder of its own"
        )


def check_not_of_a_run(flag: str, path: Path) -> None:
    """Raise InputError where a file or folder to write is one that a run, or a formation, writes.

    A pipe, a device or a link to a file is refused as well: a file would take its place. And an
    address, which would be taken for the name of a folder here.

    Args:
        flag: that gave it.
        path: of the file or folder, which may be there or not.
    """
    if is_address(path):
        raise InputError(f"{flag} {path}: an address; give a file or folder on this machine")
    check_replaceable(flag, path)
    place = path.resolve()
    for folder in place.parents:
        own = place.relative_to(folder).parts[0]
        record = _record(folder)
        if record and (is_written(own) or own == record):
            raise InputError(
                f"{flag} {path}: {own} is a name of {_RECORDS[record]}'s own, which lies in"
                f" {folder.name}; give another name, or another folder"
            )


def _record(folder: Path) -> str | None:
    """The name of the file that says what run or formation lies in a folder, if any does."""
    return next((name for name in _RECORDS if (folder / name).is_file()), None)
