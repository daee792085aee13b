"""Outcomes of packs -> the run folder, each pack as soon as it is done."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import save_file

from kn_lightning.environment import environment_record, study_identity
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.outcome import Outcome
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import SKIPPED_TABLE
from kn_lightning.tables import outcome_tables


class WriteCallback(Callback):
    """Results on disk.

    Args:
        scores: also keep all scores: ``scores/*.safetensors``, one file a pack, one tensor
            ``[prompts, layers, neurons]`` a concept.
    """

    def __init__(self, scores: bool = False) -> None:
        self.scores = scores
        self._mark = 0.0

    def begin(self, folder: RunFolder, config: dict[str, Any]) -> None:
        """Say where results go, and with which resolved settings they are made."""
        self.folder = folder
        self.config = config

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Opens or resumes the run folder; what it holds isn't computed again."""
        if stage != "predict":
            return
        self._mark = time.perf_counter()
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, MaskedLanguageModel)
        if trainer.is_global_zero:
            record = environment_record(trainer, pl_module.encoder, data, self.config)
            identity = study_identity(self.config, record)
            skipped = [asdict(skip) for skip in data.study.skipped]
            table = pa.Table.from_pylist(skipped, schema=SKIPPED_TABLE)
            self.folder.open(self.config, record, table, identity)
        trainer.strategy.barrier()
        data.finished = (
            frozenset(range(len(data.study.packs)))
            if self.folder.is_complete
            else self.folder.finished_packs()
        )

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Writes one pack."""
        assert isinstance(outputs, Outcome)
        assert isinstance(pl_module, MaskedLanguageModel)
        number = outputs.pack.number
        if self.scores:
            scores = outputs.attribution.scores
            folder = self.folder.path / "scores"
            folder.mkdir(exist_ok=True)
            save_file(
                {g.concept: scores[place].contiguous() for g, place in outputs.groups()},
                folder / f"{number:06d}.safetensors",
            )
        now = time.perf_counter()
        seconds = {"total": now - self._mark, **outputs.seconds}
        self._mark = now
        self.folder.write_part(number, outcome_tables(outputs, pl_module.encoder), seconds)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Rank 0 joins the parts when all ranks are done.

        Not in ``on_predict_end``: Lightning skips that on a rank that has no pack (left).
        """
        if stage != "predict":
            return
        trainer.strategy.barrier()
        if trainer.is_global_zero and not self.folder.is_complete:
            self.folder.close(len(trainer.datamodule.study.packs))  # type: ignore[attr-defined]
