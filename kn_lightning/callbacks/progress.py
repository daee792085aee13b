"""How far a study is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kn_lightning.errors import InputError
from kn_lightning.outcome import Outcome


class ProgressCallback(Callback):
    """Progress of ``analyze.py`` on rank 0.

    Args:
        interval: seconds between lines where the output is no terminal.
    """

    def __init__(self, interval: float = 20.0) -> None:
        if not interval >= 0:
            raise InputError(f"progress.interval {interval}: give seconds, 0 or more")
        self.interval = interval
        self._bar: Progress | None = None
        self._done = 0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says what is to be done."""
        if not trainer.is_global_zero:
            return
        self.console = Console(stderr=True)  # here: a console can't be sent to spawned ranks
        data = trainer.datamodule  # type: ignore[attr-defined]
        self._total = sum(len(group.prompts) for pack in data.own_packs() for group in pack.groups)
        self._start = self._last = time.monotonic()
        self._done = 0
        if data.finished:
            self.console.print(
                f"going on: {len(data.finished)} of {len(data.study.packs)} packs are done"
            )
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("prompts"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]:.1f} prompts/s"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._bar.add_task("prompts", total=self._total, rate=0.0)
            self._bar.start()

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """One pack further."""
        if not trainer.is_global_zero:
            return
        assert isinstance(outputs, Outcome)
        self._done += len(outputs.prompts)
        now = time.monotonic()
        rate = self._done / (now - self._start)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, rate=rate)
        elif now - self._last >= self.interval or self._done == self._total:
            self._last = now
            left = (self._total - self._done) / rate
            self.console.print(
                f"{self._done} of {self._total} prompts, {rate:.1f} prompts/s, {left:.0f} s left"
            )

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the bar."""
        self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Gives the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
