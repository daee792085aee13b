"""Follows concepts through a training: their probability and their knowledge neurons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
)
from lightning.pytorch.utilities.seed import isolate_rng

from kn_lightning.data.jsonl import read_jsonl
from kn_lightning.data.modules import PromptGroups
from kn_lightning.data.study import Study, merged_groups
from kn_lightning.errors import InputError
from kn_lightning.files import checked_path
from kn_lightning.formation import (
    FormationSettings,
    Step,
    encoded_study,
    identity,
    made_with,
    measured,
    metrics,
)
from kn_lightning.formation_record import FormationRecord
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.ranks import on_all_ranks

_SHARDED = (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)


class FormationCallback(Callback):
    """Measure concepts before the first step, every so many steps, and behind the last.

    The training's weights, gradients, dropout and random numbers are the same, to the last bit, as
    without it. How attribution is computed is set by ``--model.rule`` and its kin.

    Args:
        every: steps of the optimizer between measurements; null: no formation study.
        max_groups: follow so many concepts, evenly spread over the data; null: all.
        folder: where ``formation.parquet``, figures and report go, or its address; a new one.
        prompts: a file as for JsonlPrompts, whose concepts are followed instead of the data's;
            text for training has none of its own.
        threshold: t: coarse neurons score above t times their prompt's largest score.
        share: p: a concept's neurons are coarse in at least this share of its prompts.
        inclusive: "p % or more"; false is "more than p %".
    """

    def __init__(
        self,
        every: int | None = None,
        max_groups: int | None = None,
        folder: str = "formation",
        prompts: Path | None = None,
        threshold: float = 0.2,
        share: float = 0.5,
        inclusive: bool = True,
    ) -> None:
        if every is not None and every < 1:
            raise InputError(
                f"formation.every {every}: give a number of steps, 1 or more, or null for none"
            )
        self.every = every
        self.settings = FormationSettings(max_groups, threshold, share, inclusive)
        self.record = FormationRecord(folder)
        self.prompts = None if prompts is None else checked_path("formation.prompts", prompts)
        self._measured: set[int] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the prompts and checks the folder, before anything is written or trained."""
        self._active = self.every is not None and stage == "fit"
        if not self._active:
            return
        assert isinstance(pl_module, MaskedLanguageModel)
        module = pl_module
        on_all_ranks(lambda: self._set_up(trainer, module))

    def _set_up(self, trainer: Trainer, pl_module: MaskedLanguageModel) -> None:
        if isinstance(trainer.strategy, _SHARDED):
            raise InputError(
                f"formation.every {self.every}: trainer.strategy shards the weights, and no device"
                " has them all; use ddp, or study its checkpoints (analyze.py formation)"
            )
        self._study = self._found(trainer, pl_module)
        self._groups = self.settings.chosen(self._study.groups)
        self._identity = identity(
            pl_module.encoder, self._groups, self.settings, pl_module.settings
        )
        self.record.check(self._identity, go_on=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first measurement, of what the training begins with."""
        if self._active:
            assert isinstance(pl_module, MaskedLanguageModel)
            trainer.strategy.barrier()  # all have checked the folder
            if trainer.is_global_zero:
                self.record.claim(self._identity, go_on=False)
                origin = made_with(pl_module.encoder, "training")
                self.record.begin(self._identity, origin, self._study.skipped)
            self._measure(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """One where it is time."""
        if self._active and trainer.global_step % (self.every or 1) == 0:
            self._measure(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last one, unless it is there."""
        if self._active:
            self._measure(trainer, pl_module)

    def _found(self, trainer: Trainer, module: MaskedLanguageModel) -> Study:
        data = trainer.datamodule  # type: ignore[attr-defined]
        several = module.several
        if self.prompts is not None:
            place = f"formation.prompts {self.prompts}"
            try:
                groups = merged_groups(read_jsonl(self.prompts))
                if not groups:
                    raise InputError("no prompt group; give a file that has one")
                return encoded_study(module.encoder, groups, (), True, several)
            except InputError as error:
                said = str(error).removeprefix(f"data.path {self.prompts}: ")
                raise InputError(f"{place}: {said}") from error
        if not isinstance(data, PromptGroups):
            raise InputError(
                f"formation.every {self.every}: {type(data).__name__} has no prompts to follow;"
                " give a file of them with --formation.prompts"
            )
        groups, _, excluded = data.selected()
        return encoded_study(module.encoder, groups, excluded, data.tag_pos, several)

    def _measure(self, trainer: Trainer, module: LightningModule) -> None:
        step = trainer.global_step
        # Behind each batch of an accumulated step, and at the end, it may be there already.
        if step in self._measured:
            return
        self._measured.add(step)
        if trainer.is_global_zero:
            assert isinstance(module, MaskedLanguageModel)
            start = time.perf_counter()
            with _set_aside(module):
                tables = measured(
                    module.encoder,
                    self._groups,
                    self.settings,
                    module.settings,
                    module.budget,
                    Step(step),
                )
            rows = self.record.add(*tables)
            n_layers = module.encoder.structure.n_layers
            means = metrics(rows[rows["step"] == step], tables[1], n_layers)
            means["formation/seconds"] = time.perf_counter() - start
            for logger in trainer.loggers:
                logger.log_metrics(means, step)
        trainer.strategy.barrier()


@contextmanager
def _set_aside(module: LightningModule) -> Iterator[None]:
    """Within the block the model is as attribution needs it; behind it, as the training left it."""
    modes = [(part, part.training) for part in module.modules()]
    asked = [(weight, weight.requires_grad) for weight in module.parameters()]
    with isolate_rng(), torch.enable_grad():
        module.eval()
        for weight, _ in asked:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight, needed in asked:
                weight.requires_grad_(needed)
            for part, mode in modes:
                part.training = mode
