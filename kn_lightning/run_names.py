"""Names of what a run or a formation, its report and its tracking write in its folder."""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Iterable
from pathlib import Path

from kn_lightning.claim import HOLDER, LOCK
from kn_lightning.errors import InputError
from kn_lightning.files import is_aside
from kn_lightning.formation_tables import TABLES as FORMATION_TABLES
from kn_lightning.pack_claims import CLAIMS
from kn_lightning.printable import printable
from kn_lightning.schema import OPTIONAL_TABLES, TABLES

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
SKIPPED = "skipped.parquet"
RUN_ID = "wandb_run_id"
"""Names the W&B run to go on with."""
FIGURES = (
    "change_by_kind",
    "suppress_histogram",
    "amplify_histogram",
    "suppress_by_pos",
    "amplify_by_pos",
    "dose_curve",
    "top_curve",
    "weight_edits",
    "values",
    "suppress_concepts",
    "amplify_concepts",
    "neurons_by_layer",
    "neurons_per_concept",
    "consistency",
    "overlap",
    "completeness",
    "agreement",
)
"""Every figure of a run's report, the answer to the study's question first."""
FORMATION_FIGURES = ("formation", "formation_order", "formation_by_layer", "formation_by_pos")
_TABLES = "|".join((*TABLES, *OPTIONAL_TABLES, "skipped", *FORMATION_TABLES))
_FOLDERS = re.compile(rf"parts|scores|figures|{CLAIMS}")
_FILES = re.compile(
    rf"config\.yaml|environment\.json|summary\.json|report\.(html|md)|{RUN_ID}|stop"
    rf"|{re.escape(LOCK)}|{re.escape(HOLDER)}|({_TABLES})\.parquet(\.tmp)?|\..+\.tmp"
)
_INSIDE = re.compile(
    rf"scores/\d{{6,}}\.safetensors|figures/({'|'.join(FIGURES + FORMATION_FIGURES)})\.(png|svg)"
    r"|(scores|figures)/\..+\.tmp",
    re.ASCII,
)
STAYING = ("scores", "figures")
"""Folders of a run with files that stay when it is finished."""


def is_written(name: str) -> bool:
    """Whether a run writes a file or folder of that name, or, with its folder's, in one of its."""
    return any(names.fullmatch(name) for names in (_FOLDERS, _FILES, _INSIDE))


def refuse_others(names: Iterable[str], run: str) -> None:
    """Raise InputError where something lies in a run folder that isn't of a run.

    Args:
        names: of all that lies there.
        run: what a user calls the folder.
    """
    if others := _others(names):
        raise InputError(
            f"run_dir {run}: {others} is not of a run; move it elsewhere before --overwrite true"
        )


def name_others(names: Iterable[str], run: str) -> None:
    """Warn of what lies in a run folder, and isn't of a run.

    Args:
        names: of all that lies there.
        run: what a user calls the folder.
    """
    if others := _others(names):
        warnings.warn(
            f"run_dir {run}: {printable(others)} is not of a run; it is left as it is,"
            " and never read",
            stacklevel=2,
        )


def _others(names: Iterable[str]) -> str:
    return ", ".join(sorted(name for name in names if not is_written(name)))


def check_kinds(run: Path, name: str) -> None:
    """Raise InputError where what has a name of a run's own can't be: no folder, or no file.

    Args:
        run: the run folder.
        name: what a user calls it.
    """
    for inner in (".", *STAYING):
        for entry in sorted((run / inner).iterdir()) if (run / inner).is_dir() else ():
            own = entry.relative_to(run).as_posix()
            if (kind := _wrong_kind(entry, own)) and not is_aside(entry):
                raise InputError(
                    f"run_dir {name}: {own} is {kind}, so none of a run's; move it elsewhere, then"
                    " run the same command"
                )


def _wrong_kind(entry: Path, name: str) -> str | None:
    """What an entry is that a run's own of its name isn't."""
    is_folder = _FOLDERS.fullmatch(name)
    if not is_written(name):
        return None
    try:
        mode = entry.stat().st_mode
    except OSError:
        # Another command may have removed its claims meanwhile.
        return "a link to nothing" if os.path.lexists(entry) else None
    if is_folder:
        return None if stat.S_ISDIR(mode) else "no folder"
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "no file"
