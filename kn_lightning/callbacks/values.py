"""Refined neurons of a pack -> what their value vectors promote, and what activates them most."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa
from lightning import Callback, LightningModule, Trainer

from kn_lightning.edit_plan import EditSettings, random_controls
from kn_lightning.encoders.values import ValueLens
from kn_lightning.keys import pack_keys
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.outcome import Outcome
from kn_lightning.ranks import on_all_ranks
from kn_lightning.schema import OPTIONAL_TABLES, Neuron


class ValueRow(NamedTuple):
    """A neuron of a concept, or one drawn to stand beside it."""

    concept: str
    source: str
    neuron: Neuron
    activation: float
    tokens: list[int]


class ValueCallback(Callback):
    """Key and value of each concept's neurons, and of random ones, where ``refine.values`` asks.

    Args:
        settings: of all edits, for the draws of random neurons; set by edit.
        k: tokens that are named at either end, and prompts; set by refine.values.
    """

    def __init__(self, settings: EditSettings, k: int | None = None) -> None:
        self.settings = settings
        self.k = k
        self._lens: ValueLens | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Says before anything is written where an encoder's value vectors can't be read."""
        if stage == "predict" and self.k is not None:
            assert isinstance(pl_module, MaskedLanguageModel)
            encoder = pl_module.encoder
            on_all_ranks(lambda: ValueLens(encoder))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reads the head where the encoder is now."""
        if self.k is not None:
            assert isinstance(pl_module, MaskedLanguageModel)
            self._lens = ValueLens(pl_module.encoder)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Adds ``values`` and ``keys`` to the outcome."""
        if self._lens is None or self.k is None:
            return
        assert isinstance(outputs, Outcome)
        assert isinstance(pl_module, MaskedLanguageModel)
        start = time.perf_counter()
        rows = list(self._rows(outputs, pl_module.encoder.structure.n_neurons))
        text = cache(lambda token: pl_module.encoder.text([token]))
        found = self._lens.promoted([r.neuron for r in rows], [r.tokens for r in rows], self.k)
        ends = (found.promoted.tolist(), found.demoted.tolist(), found.ranks)
        table = []
        for row, promoted, demoted, ranks in zip(rows, *ends, strict=True):
            best = min(ranks)
            table.append(
                {
                    "concept": row.concept,
                    "neurons": row.source,
                    **row.neuron._asdict(),
                    "activation": row.activation,
                    "answer": text(row.tokens[ranks.index(best)]),
                    "rank": best,
                    "promoted": [text(token) for token in promoted],
                    "demoted": [text(token) for token in demoted],
                }
            )
        outputs.values = pa.Table.from_pylist(table, schema=OPTIONAL_TABLES["values"])
        outputs.keys = pack_keys(outputs.attribution.activations, self.k)
        outputs.seconds["values"] = time.perf_counter() - start

    def _rows(self, outputs: Outcome, n_neurons: int) -> Iterator[ValueRow]:
        """Each concept's neurons, then those drawn, ordered by layer and neuron."""
        for number, (group, place) in enumerate(outputs.groups()):
            own = outputs.neurons(number)
            active = outputs.attribution.activations[place].mean(0)
            # Of an answer of several tokens, or of one that reads otherwise inside a sentence, all.
            tokens = sorted({token for prompt in group.prompts for token in prompt.answers})
            drawn = random_controls(group.concept, own, n_neurons, self.settings)
            for source, neurons in (("knowledge", own), *drawn):
                for neuron in neurons:
                    yield ValueRow(group.concept, source, neuron, float(active[neuron]), tokens)
