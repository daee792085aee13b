"""A formation study of checkpoints -> its curves in loggers, while it runs.

The step of what is logged is that of the training, so that curves are drawn over it; names are
those of a training that is followed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.loggers import Logger

from kn_lightning.errors import InputError
from kn_lightning.formation import metrics
from kn_lightning.formation_record import FormationRecord
from kn_lightning.formation_tables import read_tables
from kn_lightning.tracking import answering, shared_settings
from kn_lightning.wandb_run import hide_secrets, note_runs, open_runs

if TYPE_CHECKING:
    import pandas as pd


def trainer_of(logger: Logger | Sequence[Logger] | bool | None, accelerator: str) -> Trainer:
    """What flags of the Trainer stand for: it has their loggers and their device.

    Raises:
        InputError: there is no such accelerator, or none in this machine.
    """
    known = sorted({"auto", "gpu", *AcceleratorRegistry.available_accelerators()})
    if accelerator not in known:
        raise InputError(f"trainer.accelerator {accelerator}: choose from {', '.join(known)}")
    try:
        return Trainer(
            logger=logger or False,
            accelerator=accelerator,
            devices=1,
            plugins=LightningEnvironment(),  # no cluster is asked: nothing is trained
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError) as error:
        raise InputError(
            f"trainer.accelerator {accelerator}: {' '.join(str(error).split())} (auto takes what"
            " is there)"
        ) from error


def shown(settings: dict[str, Any], record: FormationRecord) -> dict[str, Any]:
    """A command's settings as they may be shown, with the name of its record."""
    kept = {key: value for key, value in settings.items() if key not in ("config", "folder")}
    return {"run": PurePath(record.name).name, **shared_settings(kept)}


class FormationTracking:
    """The loggers of a study and what they are told; one that fails costs a warning.

    Args:
        loggers: none, one or several.
        record: of the study.
        settings: of the study, as they may be shown.

    Attributes:
        loggers: those that have taken all so far.
    """

    def __init__(
        self, loggers: Sequence[Logger], record: FormationRecord, settings: dict[str, Any]
    ) -> None:
        self.loggers = list(loggers)
        hide_secrets(self.loggers)
        self._record = record
        self._settings = settings

    def open(self) -> None:
        """Begin a W&B run, or go on with that of the record, which has been checked.

        Raises:
            InputError: W&B can't be reached, or doesn't know the user.
        """
        open_runs(self.loggers, self._record)

    def begin(self, made_with: dict[str, Any], n_layers: int) -> None:
        """Log the settings, and the steps that the record has: a logger may have missed some.

        Args:
            made_with: versions and the like.
            n_layers: of the encoder.
        """
        self._n_layers = n_layers
        if not self.loggers:
            return
        settings = {**self._settings, "environment": made_with}
        self._tell(lambda logger: logger.log_hyperparams(settings))
        note_runs(self.loggers, self._record)
        if self._record.checkpoints():
            concepts, neurons = read_tables(self._record.path)
            for step, rows in concepts.groupby("step"):
                self.log(rows, neurons[neurons["step"] == step])

    def log(
        self, rows: pd.DataFrame, neurons: pd.DataFrame, further: dict[str, float] | None = None
    ) -> None:
        """Log the means of a step.

        Args:
            rows: of its concepts.
            neurons: their knowledge neurons.
            further: what else is logged, by name.
        """
        means = {**metrics(rows, neurons, self._n_layers), **(further or {})}
        step = int(rows["step"].iloc[0])

        def log(logger: Logger) -> None:
            logger.log_metrics(means, step)
            logger.save()

        self._tell(log)

    def _tell(self, what: Callable[[Logger], None]) -> None:
        self.loggers = answering(self.loggers, what, self._record.name)
