"""How far a study is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kn_lightning.errors import InputError
from kn_lightning.outcome import Outcome


class ProgressCallback(Callback):
    """Progress of ``analyze.py``: what all ranks have done, said by rank 0.

    Args:
        interval: seconds between lines where the output is no terminal.
    """

    def __init__(self, interval: float = 20.0) -> None:
        if not interval >= 0:
            raise InputError(f"progress.interval {interval}: give seconds, 0 or more")
        self.interval = interval
        self._bar: Progress | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says what is to be done."""
        if not trainer.is_global_zero:
            return
        self.console = Console(stderr=True)  # here: a console can't be sent to spawned ranks
        data = trainer.datamodule  # type: ignore[attr-defined]
        self._left = {
            pack.number: sum(len(group.prompts) for group in pack.groups)
            for pack in data.study.packs
            if pack.number not in data.finished
        }
        self._total = sum(self._left.values())
        self._start = self._last = time.monotonic()
        if data.finished:
            self._say(f"going on: {len(data.finished)} of {len(data.study.packs)} packs are done")
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
        # Of all ranks; this pack may not be there yet.
        there = trainer.datamodule.on_disk() | {outputs.pack.number}  # type: ignore[attr-defined]
        done = sum(prompts for number, prompts in self._left.items() if number in there)
        now = time.monotonic()
        rate = done / (now - self._start)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, rate=rate)
        elif now - self._last >= self.interval or done == self._total:
            self._last = now
            left = (self._total - done) / rate
            self._say(f"{done} of {self._total} prompts, {rate:.1f} prompts/s, {left:.0f} s left")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the bar; packs that other ranks are still at are said."""
        self._stop()
        data = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.is_global_zero and trainer.world_size > 1 and not data.stopped():
            left = len(self._left.keys() - data.on_disk())
            if left:
                self._say(f"rank 0 is done; the others are at the last {left} packs")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Gives the terminal back."""
        self._stop()

    def _say(self, line: str) -> None:
        with suppress(OSError):  # a full disk under a log, or nobody reads it: no reason to end
            self.console.print(line)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
