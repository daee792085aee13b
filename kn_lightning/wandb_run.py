"""The W&B run of a study: begun or gone on with, telling W&B little, and left when it is lost."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch.loggers import Logger, WandbLogger

from kn_lightning.data.addresses import public_text
from kn_lightning.environment import without_secrets
from kn_lightning.errors import InputError
from kn_lightning.files import write_whole
from kn_lightning.run_names import RUN_ID

_WANDB = {
    "WANDB_X_DISABLE_META": "true",  # interpreter, arguments, host, user, hardware
    "WANDB_HOST": "",
    "WANDB_PROGRAM": "analyze.py",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_SAVE_CODE": "false",
    "WANDB_CONSOLE": "off",  # the output names the run folder
    "WANDB_DATA_DIR": "wandb",  # copies on their way to the server, by default in the user's home
    "WANDB_QUIET": "true",
    "WANDB_RESUME": "allow",
}
"""W&B's settings unless the user's environment or flags say otherwise: no machine, no paths.

As variables, since Lightning hands W&B's ``settings`` on whole, with defaults that then win over
the user's environment.
"""


_SHOWN = ("config", "notes", "name", "group", "tags")
"""Arguments of W&B's own that stand on a run's page."""


class StudyFolder(Protocol):
    """Where a study's results lie: a run folder, or that of a formation study."""

    path: Path

    def publish(self, *names: str) -> None:
        """Bring files to where the folder lies."""


def open_runs(loggers: Sequence[Logger], folder: StudyFolder, fresh: bool = False) -> None:
    """Start a W&B run, or go on with the one that the folder names, unless ``fresh``.

    Raises:
        InputError: W&B can't be reached, or doesn't know the user.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            _open(logger, None if fresh else folder.path / RUN_ID)


def hide_secrets(loggers: Sequence[Logger]) -> None:
    """Take users, passwords and keys out of what W&B is given to show on a run's page."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            given = logger._wandb_init
            for name in _SHOWN:
                if given.get(name) is not None:
                    given[name] = _shown(given[name])


def _open(logger: WandbLogger, known: Path | None) -> None:
    import wandb

    run = {}
    if known is not None and known.is_file():
        run["WANDB_RUN_ID"] = _run_id(known)
    for name, value in {**_WANDB, **run}.items():
        os.environ.setdefault(name, value)
    try:
        _ = logger.experiment
    except wandb.Error as error:
        raise InputError(
            f"trainer.logger: W&B: {error} (--trainer.logger.offline true needs no account)"
        ) from error


def _shown(value: Any) -> Any:
    """What a user has given W&B to show, without secrets."""
    if isinstance(value, str):
        return public_text(value)
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in value]
    return without_secrets(value, of_trainer=True)


def _run_id(path: Path) -> str:
    """What the file says.

    Raises:
        InputError: that is no id of a run.
    """
    said = path.read_bytes()
    if not re.fullmatch(rb"[A-Za-z0-9_-]+", said):
        raise InputError(
            f"{path}: {said[:40]!r} is no id of a W&B run; delete it, and a new run is begun"
        )
    return said.decode()


def note_runs(loggers: Sequence[Logger], folder: StudyFolder) -> None:
    """Write into the folder which W&B run to go on with."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and not logger.experiment.disabled:
            write_whole(folder.path / RUN_ID, logger.experiment.id)
            folder.publish(RUN_ID)


def leave_wandb() -> None:
    """Else the process would, at its end, once more talk to a W&B that doesn't answer."""
    import wandb

    with suppress(Exception, SystemExit):
        wandb.teardown()
