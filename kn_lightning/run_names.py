"""Names of what a run, its report and its tracking write in a run folder."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

from kn_lightning.claim import HOLDER, LOCK
from kn_lightning.errors import InputError
from kn_lightning.files import is_aside
from kn_lightning.pack_claims import CLAIMS
from kn_lightning.printable import printable

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
SKIPPED = "skipped.parquet"
RUN_ID = "wandb_run_id"
"""Names the W&B run to go on with."""
_FOLDERS = re.compile(rf"parts|scores|figures|{CLAIMS}")
_FILES = re.compile(
    rf"config\.yaml|environment\.json|summary\.json|report\.(html|md)|{RUN_ID}|stop"
    rf"|{re.escape(LOCK)}|{re.escape(HOLDER)}|\w+\.parquet(\.tmp)?|\..+\.tmp"
)


def is_written(name: str) -> bool:
    """Whether a run writes a file or folder of that name."""
    return bool(_FOLDERS.fullmatch(name) or _FILES.fullmatch(name))


def others_of(names: Iterable[str]) -> list[str]:
    """Those that no run has written."""
    return sorted(name for name in names if not is_written(name))


def name_others(names: Iterable[str], run: str) -> None:
    """Warn of what lies in a run folder, and isn't of a run.

    Args:
        names: of all that lies there.
        run: what a user calls the folder.
    """
    if others := others_of(names):
        warnings.warn(
            f"run_dir {run}: {printable(', '.join(others))} is not of a run; it is left as it is,"
            " and never read",
            stacklevel=2,
        )


def check_kinds(run: Path, name: str) -> None:
    """Raise InputError where a file has a name of a run's folders, or a folder one of its files.

    Args:
        run: the run folder.
        name: what a user calls it.
    """
    for entry in sorted(run.iterdir()):
        is_folder = entry.is_dir()
        wrong = _FILES if is_folder else _FOLDERS
        if (
            wrong.fullmatch(entry.name)
            and not is_aside(entry)
            and os.path.lexists(entry)  # another command may remove its claims meanwhile
        ):
            raise InputError(
                f"run_dir {name}: {entry.name} is {'a' if is_folder else 'no'} folder, so none of"
                " a run's; move it elsewhere, then run the same command"
            )
