"""Outcomes of packs -> the run folder, each pack as soon as it is done."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.distributed import _InfiniteBarrier
from safetensors.torch import save

from kn_lightning.data.study import Pack
from kn_lightning.environment import environment_record, study_identity, without_secrets
from kn_lightning.errors import InputError, Stopped
from kn_lightning.identity import differing
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.outcome import Outcome
from kn_lightning.pack_claims import PackClaims, begin_claims, end_claims
from kn_lightning.ranks import on_all_ranks
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import SKIPPED_TABLE
from kn_lightning.stopping import StopSignals
from kn_lightning.tables import outcome_tables

_RESERVED = "__metadata__"
_Start = tuple[frozenset[int], str, str | None]
"""What rank 0 tells the others: packs that are finished, the study, and the folder of claims."""


class WriteCallback(Callback):
    """Results on disk, each pack's as soon as it is done; a signal ends the study behind one.

    Args:
        scores: also keep all scores: ``scores/*.safetensors``, one file a pack, one tensor
            ``[prompts, layers, neurons]`` a concept.
    """

    def __init__(self, scores: bool = False) -> None:
        self.scores = scores
        self._mark = 0.0
        self._study: tuple[dict[str, Any], dict[str, Any]] | None = None
        self._all_ranks = ExitStack()

    def begin(self, folder: RunFolder, config: dict[str, Any], overwrite: bool = False) -> None:
        """Say where results go, and with which resolved settings they are made."""
        self.folder = folder
        self.config = without_secrets(config)
        self.overwrite = overwrite
        self.signals = StopSignals(folder.stop_file, folder.name)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Opens or resumes the run folder; what it holds isn't computed again."""
        if stage != "predict":
            return
        self._mark = time.perf_counter()
        data = trainer.datamodule  # type: ignore[attr-defined]
        record, identity = self._study or on_all_ranks(lambda: self._record(trainer, pl_module))
        first = trainer.strategy.broadcast(identity)
        on_all_ranks(lambda: _check_alike(identity, first))
        # By rank 0 for all: another rank could see a pack already that is finished from now on.
        start = trainer.strategy.broadcast(
            on_all_ranks(lambda: self._start(trainer, record, identity))
        )
        assert start is not None
        data.finished, self.folder.study, claims = start
        if claims is not None:
            data.take = on_all_ranks(lambda: self._claims(claims)).take
        data.on_disk = self.folder.finished_packs
        data.stopped = lambda: self.signals.asked is not None
        # Lightning's own would answer SIGTERM with a collective in the middle of whatever is
        # running; this is the one place that is passed on every rank before it installs them.
        connector = trainer._signal_connector
        connector.register_signal_handlers = self.signals.install  # type: ignore[method-assign]
        # A rank may wait for the others' last packs for longer than a process group's time limit.
        self._all_ranks.enter_context(_InfiniteBarrier())

    def refuse_others(self, trainer: Trainer, module: LightningModule) -> None:
        """Raise InputError where the run folder, if it is there, is refused to this study.

        For what begins before setup, and should not for a study that is refused.
        """
        self._study = on_all_ranks(lambda: self._record(trainer, module))
        identity = self._study[1]

        def refuse() -> None:
            if trainer.is_global_zero and self.folder.path.exists():
                self.folder.admit(identity, self.overwrite)

        on_all_ranks(refuse)

    def _record(
        self, trainer: Trainer, module: LightningModule
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What this rank has, and what its study is: a node may have other data, or no tagger."""
        assert isinstance(module, MaskedLanguageModel)
        _check_limit(trainer.limit_predict_batches)
        data = trainer.datamodule  # type: ignore[attr-defined]
        if self.scores:
            _check_names(group.concept for group in data.study.groups)
        record = environment_record(trainer, module.encoder, data, self.config)
        return record, study_identity(self.config, record)

    def _start(
        self, trainer: Trainer, record: dict[str, Any], identity: dict[str, Any]
    ) -> _Start | None:
        """Rank 0's part: the run folder opened, and what is done there."""
        if not trainer.is_global_zero:
            return None
        data = trainer.datamodule  # type: ignore[attr-defined]
        packs = data.study.packs
        skipped = [asdict(skip) for skip in data.study.skipped]
        table = pa.Table.from_pylist(skipped, schema=SKIPPED_TABLE)
        self.folder.open(self.config, record, table, identity, self.overwrite)
        self.folder.check(_plan(packs))
        whole = self.folder.is_complete
        finished = frozenset(range(len(packs))) if whole else self.folder.finished_packs()
        claimed = self.folder.has_claims and trainer.world_size > 1
        claims = begin_claims(self.folder.path) if claimed else None
        return finished, self.folder.study, claims

    def _claims(self, name: str) -> PackClaims:
        """Those that rank 0 has begun, which this rank must see."""
        folder = self.folder.path / name
        if not folder.is_dir():
            raise InputError(
                f"run_dir {self.folder.name}: on {platform.node()} it is not the folder that rank 0"
                " has opened; give one on a disk that all ranks share, by its full path"
            )
        return PackClaims(folder)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Writes one pack."""
        assert isinstance(outputs, Outcome)
        assert isinstance(pl_module, MaskedLanguageModel)
        number = outputs.pack.number
        kept: bytes | None = None
        if self.scores:
            scores = outputs.attribution.scores
            named = {g.concept: scores[place].contiguous() for g, place in outputs.groups()}
            kept = save(named)
        now = time.perf_counter()
        seconds = {"total": now - self._mark, **outputs.seconds}
        self._mark = now
        tables = outcome_tables(outputs, pl_module.encoder)
        self.folder.write_part(number, tables, seconds, kept)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Rank 0 counts the parts and joins them when all ranks are done.

        Not in ``on_predict_end``: Lightning skips that on a rank that has no pack (left).
        """
        if stage != "predict":
            return
        self._all_ranks.close()  # waits for them
        self.signals.restore()  # to join them can be begun again at any point
        if not trainer.is_global_zero:
            return
        end_claims(self.folder.path)
        plan = _plan(trainer.datamodule.study.packs)  # type: ignore[attr-defined]
        if not self.folder.is_complete and (
            self.signals.asked is None or len(self.folder.finished_packs()) == len(plan)
        ):
            self.folder.check(plan)
            self.folder.close(len(plan))

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Signals do what they did before."""
        self.signals.restore()

    def end_if_stopped(self) -> None:
        """Raise Stopped where a signal has ended the study before it was done."""
        number = self.signals.asked
        if number is not None:
            raise Stopped(
                number,
                f"stopped by {number.name} behind the pack in hand:"
                f" {len(self.folder.finished_packs())} packs are in {self.folder.name};"
                " the same command goes on from there",
            )


def _check_limit(limit: float) -> None:
    """Raise InputError for a limit on batches that leaves no pack, or a share of who knows what."""
    if limit < 1:
        raise InputError(
            f"trainer.limit_predict_batches {limit}: give a whole number from 1, which is of each"
            " rank's packs, or leave it out"
        )


def _check_names(concepts: Iterable[str]) -> None:
    """Raise InputError for a concept that no tensor in a safetensors file can be called."""
    if _RESERVED in concepts:
        raise InputError(
            f"write.scores true: a concept is called {_RESERVED}, which no tensor in a safetensors"
            " file can be; leave it out of the data, or use --write.scores false"
        )


def _check_alike(own: dict[str, Any], first: dict[str, Any]) -> None:
    """Raise InputError where this rank has another study than rank 0."""
    if found := differing(own, first):
        raise InputError(
            f"{platform.node()} has another study than rank 0: {', '.join(found)}; give all"
            " nodes the same data and encoder, and all or none nltk's tagger (--data.tag_pos false)"
        )


def _plan(packs: Sequence[Pack]) -> list[list[str]]:
    """Ids of each pack's prompts."""
    return [[p.prompt_id for group in pack.groups for p in group.prompts] for pack in packs]
