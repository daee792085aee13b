"""What ``environment.json`` says of a run's files, against the files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kn_lightning.errors import InputError
from kn_lightning.identity import content_sha256
from kn_lightning.part_names import SCORES, part_number
from kn_lightning.run_names import CONFIG

SECONDS = "seconds"
"""Key of ``environment.json`` of a run that was closed: what it took, by stage."""

DIGESTS = "sha256"
"""Key of ``environment.json``: the SHA-256 of each table of a finished run, of its settings and of
its kept scores, by file."""

OWN_DIGEST = "own_sha256"
"""Key of ``environment.json``: the SHA-256 of all else that it says."""


def digest(path: Path) -> str:
    """Of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def with_own_digest(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into ``environment.json``, which then can be seen to be as it was written."""
    said = {key: value for key, value in environment.items() if key != OWN_DIGEST}
    # As it will be read: by then its keys are texts, its tuples lists.
    return {**said, OWN_DIGEST: content_sha256(json.loads(json.dumps(said)))}


def check_record(environment: Mapping[str, Any], name: str) -> None:
    """Raise InputError where ``environment.json`` is not as it was written.

    A report asks neither that nor :func:`check_config`: who shows a run to others may take from it
    what is private.

    Args:
        environment: what it says; of runs from before it had a digest of its own nothing is said.
        name: what a user calls its folder.
    """
    if OWN_DIGEST in environment and with_own_digest(environment) != environment:
        raise InputError(
            f"{name}/environment.json is not as the run wrote it; put back what it said, or compute"
            " the run again with --overwrite true"
        )


def check_config(folder: Path, environment: Mapping[str, Any], name: str) -> None:
    """Raise InputError where ``config.yaml`` of a finished run is not as it was written.

    Args:
        folder: the run.
        environment: its ``environment.json``; of runs from before it had that digest nothing is
            said.
        name: what a user calls the folder.
    """
    config = dict(_digests(environment, name)).get(CONFIG)
    if config is not None and digest(folder / CONFIG) != config:
        raise _changed(CONFIG, name)


def _changed(file: str, name: str) -> InputError:
    return InputError(
        f"{name}/{file} is not as the run wrote it; delete it, then run the same command"
    )


def check_tables(folder: Path, environment: Mapping[str, Any], name: str) -> None:
    """Raise InputError where a table is not as it was written, or the run wasn't closed.

    Args:
        folder: a run with all its tables.
        environment: its ``environment.json``; of runs from before it had digests nothing is said.
        name: what a user calls the folder.
    """
    # As it begins: the tables are somebody's own.
    if environment.get(SECONDS) == {} and DIGESTS not in environment:
        raise InputError(
            f"{name}: not a finished run, and its tables are of another; move them elsewhere, then"
            f" finish it with `python analyze.py --run_dir {name}` and the settings it began with"
        )
    for file, sha256 in _digests(environment, name):
        path = folder / file
        # Kept scores may be gigabytes, and no command reads them.
        if not (file.startswith((CONFIG, SCORES)) or (path.is_file() and digest(path) == sha256)):
            raise _changed(file, name)


def check_left(
    folder: Path, environment: Mapping[str, Any], name: str, files: Iterable[str]
) -> None:
    """Raise InputError where a table lies in an unfinished run that is not of it.

    Its own are there where it was killed while they were moved into place, or where one of them was
    deleted.

    Args:
        folder: the run.
        environment: its ``environment.json``.
        name: what a user calls the folder.
        files: names of its tables.
    """
    written = dict(_digests(environment, name))
    for file in sorted(files):
        path = folder / file
        if path.is_file() and digest(path) != written.get(file):
            raise InputError(
                f"{name}/{file} is none of this run's; move it elsewhere, then run the same command"
            )


def _digests(environment: Mapping[str, Any], name: str) -> Iterable[tuple[str, Any]]:
    digests = environment.get(DIGESTS, {})
    if not isinstance(digests, dict):
        raise InputError(
            f"{name}/environment.json: {DIGESTS} is {digests!r:.60}, not keys with texts; run the"
            " study again, with --overwrite true"
        )
    return digests.items()


def check_scores(
    environment: Mapping[str, Any], name: str, scores: Callable[[int], str | None]
) -> None:
    """Raise InputError where kept scores are not as they were written; who needs none removes them.

    Args:
        environment: of a finished run.
        name: what a user calls its folder.
        scores: the SHA-256 of the scores of a pack, by its number; None where there are none.
    """
    for file, sha256 in _digests(environment, name):
        number = part_number(Path(file).stem)
        if file.startswith(SCORES) and number is not None and scores(number) not in (None, sha256):
            raise InputError(
                f"{name}/{file} is not as the run wrote it; delete it, or compute the run again"
                " with --overwrite true"
            )
