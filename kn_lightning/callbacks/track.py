"""Packs -> progress in the trainer's loggers, and the settings and environment before the first."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor

from kn_lightning.callbacks.write import WriteCallback
from kn_lightning.digests import DIGESTS
from kn_lightning.errors import InputError
from kn_lightning.outcome import Outcome
from kn_lightning.ranks import on_all_ranks
from kn_lightning.schema import INTEGRATED_GRADIENTS
from kn_lightning.tracking import answering, shared_settings
from kn_lightning.wandb_run import note_runs, open_runs


class TrackCallback(Callback):
    """A study in the trainer's loggers (--trainer.logger); without a logger it does nothing.

    Args:
        interval: seconds between entries while the study runs.
        artifact: whether W&B keeps the run folder as an artifact (without dense scores).
    """

    def __init__(self, interval: float = 10.0, artifact: bool = True) -> None:
        if not interval >= 0:
            raise InputError(f"track.interval {interval}: give seconds, 0 or more")
        self.interval = interval
        self.artifact = artifact

    def begin(self, trainer: Trainer, write: WriteCallback, config: dict[str, Any]) -> None:
        """Say what is tracked: W&B goes on with the run that the folder names, or is overwritten.

        The trainer has its loggers back once the data have been read.
        """
        self.folder = write.folder
        self.config = config
        if trainer.loggers:
            # The first: others may ask in their setup which loggers there are.
            trainer.callbacks.insert(0, _Opening(trainer.loggers, write))  # type: ignore[attr-defined]
            trainer.loggers = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Logs settings and environment, once the run folder is open."""
        self._active = stage == "predict" and trainer.is_global_zero and bool(trainer.loggers)
        if not self._active:
            return
        environment = self.folder.environment()
        for key in ("identity", "seconds", DIGESTS):  # of a run that goes on, or was done before
            environment.pop(key, None)
        settings = {
            "run": self.folder.path.name,
            **shared_settings(self.config),
            "environment": environment,
        }
        self._tell(trainer, lambda logger: logger.log_hyperparams(settings))
        note_runs(trainer.loggers, self.folder)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts what was done before."""
        if self._active:
            packs = trainer.datamodule.study.packs  # type: ignore[attr-defined]
            self._sizes = {
                pack.number: sum(len(group.prompts) for group in pack.groups) for pack in packs
            }
            self._before = self._done()
            self._start = self._last = time.monotonic()
            self._window = self._new_window()

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Logs the packs since the last entry when it is time."""
        if self._active:
            assert isinstance(outputs, Outcome)
            self._window.add(outputs)
            if time.monotonic() - self._last >= self.interval:
                self._log(trainer)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the last packs."""
        if self._active and self._window.evaluations:
            self._log(trainer)

    def _new_window(self) -> Window:
        return Window(self.config["model"]["attribution"] == INTEGRATED_GRADIENTS)

    def _done(self) -> int:
        """Prompts on disk, of all ranks."""
        return sum(self._sizes[number] for number in self.folder.finished_packs())

    def _log(self, trainer: Trainer) -> None:
        done = self._done()
        self._last = time.monotonic()
        metrics = {
            "progress/prompts": float(done),
            "progress/share": done / sum(self._sizes.values()),
            "progress/prompts_per_second": (done - self._before) / (self._last - self._start),
            **self._window.metrics(),
        }
        self._window = self._new_window()

        def log(logger: Logger) -> None:
            logger.log_metrics(metrics, done)
            logger.save()

        self._tell(trainer, log)

    def _tell(self, trainer: Trainer, what: Callable[[Logger], None]) -> None:
        """Tell all loggers; the trainer forgets one that is lost."""
        trainer.loggers = answering(trainer.loggers, what, self.folder.name)


class _Opening(Callback):
    """The trainer's loggers, once data and run folder are known to be good: else nothing of them.

    The trainer would open them itself before it has any data, and end with one that fails. Now they
    open when they are told the settings, which costs a warning where one fails.
    """

    def __init__(self, loggers: list[Logger], write: WriteCallback) -> None:
        self._loggers = loggers
        self._write = write

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Puts them back; W&B that can't be reached is refused before the run folder is there."""
        write = self._write
        # Else W&B would go on with the run of the other study that the folder holds.
        write.refuse_others(trainer, pl_module)
        on_all_ranks(lambda: open_runs(self._loggers, write.folder, write.overwrite))
        trainer.loggers = self._loggers


class Window:
    """Packs since the last entry: what is logged of them, not the packs themselves.

    Args:
        complete: whether scores should add up to totals, so that what they miss is an error.
    """

    def __init__(self, complete: bool = True) -> None:
        self._complete = complete
        self.evaluations: list[Tensor] = []
        self._residuals: list[Tensor] = []
        self._falls: list[Tensor] = []

    def add(self, outcome: Outcome) -> None:
        """Take what is logged of a pack."""
        attribution = outcome.attribution
        largest = attribution.total.abs().amax(1, keepdim=True)
        relative = attribution.residual.abs() / largest
        self.evaluations.append(attribution.evaluations.sum(1).double())
        self._residuals.append(relative[largest[:, 0] > 0].flatten().double())
        assert outcome.edits is not None
        self._falls.append(_own_falls(outcome.edits))

    def metrics(self) -> dict[str, float]:
        """Means and largest over the window; what nothing was measured of is left out."""
        evaluations = torch.cat(self.evaluations)
        residuals, falls = torch.cat(self._residuals), torch.cat(self._falls)
        metrics = {"attribution/evaluations_per_prompt": evaluations.mean().item()}
        if self._complete and len(residuals):
            metrics["completeness/largest_relative_residual"] = residuals.max().item()
            metrics["completeness/mean_relative_residual"] = residuals.mean().item()
        if len(falls):
            metrics["edits/own_falls_under_suppression"] = falls.mean().item()
        return metrics


def _own_falls(edits: pa.Table) -> Tensor:
    """Of each own prompt with its knowledge neurons suppressed, whether its answer's P falls."""
    own = edits.filter(
        (pc.field("edit") == "suppress")
        & (pc.field("neurons") == "knowledge")
        & (pc.field("prompt_kind") == "related")
        & (pc.field("n_neurons") > 0)
    )
    falls = pc.less(own["probability_after"], own["probability_before"])
    return torch.tensor(falls.to_pylist(), dtype=torch.float64)
