"""Refined neurons of a pack -> the answers' probabilities before and after each edit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from lightning import Callback, LightningModule, Trainer

from kn_lightning.attribution import fitting_row_tokens, length_chunks
from kn_lightning.core.edits import edit_name, row_edits
from kn_lightning.core.probabilities import answer_statistics
from kn_lightning.edit_plan import EditPlan, EditRow, EditSettings
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.hooked import HookedForward
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.outcome import Outcome
from kn_lightning.schema import TABLES, EncodedPrompt, Neuron

_HEAD_FLOATS = 1 << 25
"""Rows x vocabulary of one forward pass: the logits and the few copies that the statistics make."""


class Measured(NamedTuple):
    """The answer of one row: probability, log-odds, rank, argmax token."""

    probability: float
    log_odds: float
    rank: int
    argmax: int


class EditCallback(Callback):
    """Edits of each concept's neurons at the mask.

    Args:
        factors: of the neurons' activation: 0 suppresses, 2 amplifies; more give a dose curve.
        unrelated: concept whose prompts serve as unrelated ones, the same for all concepts.
        unrelated_prompts: sentences with [MASK] to be used instead of the data's prompts of
            ``unrelated``, which is their answer.
        others: prompts of other concepts that are drawn for each concept.
        control_seeds: draws of random neurons with the same number in each layer.
        controls: more neurons to compare with: ``activation`` edits the most active neurons, as
            many in each layer; ``foreign`` the knowledge neurons of another concept.
        holdout: share of each concept's prompts on which neurons are not refined; edits are then
            measured on those alone.
        max_prompts: measure on the first so many of a concept's own prompts.
        seed: of all draws.
    """

    def __init__(
        self,
        factors: list[float] = [0.0, 2.0],  # noqa: B006 - jsonargparse shows it as the default
        unrelated: str = "london",
        unrelated_prompts: list[str] | None = None,
        others: int = 8,
        control_seeds: int = 3,
        controls: list[str] = ["activation", "foreign"],  # noqa: B006
        holdout: float = 0.0,
        max_prompts: int | None = None,
        seed: int = 0,
    ) -> None:
        self.settings = EditSettings(
            [float(factor) for factor in factors],
            unrelated,
            unrelated_prompts,
            others,
            control_seeds,
            controls,
            holdout,
            max_prompts,
            seed,
        )

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plans the edits: finds the unrelated prompts, and who lends neurons to whom."""
        assert isinstance(pl_module, MaskedLanguageModel)
        study = trainer.datamodule.study  # type: ignore[attr-defined]
        self._encoder = pl_module.encoder
        self._row_tokens = 2 * (pl_module.settings.row_tokens or fitting_row_tokens(self._encoder))
        self._plan = EditPlan(self._encoder, study, self.settings)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Adds ``edits`` to the outcome."""
        assert isinstance(outputs, Outcome)
        start = time.perf_counter()
        rows = [
            row
            for number, (group, place) in enumerate(outputs.groups())
            for row in self._plan.rows(
                group, outputs.neurons(number), outputs.attribution.activations[place]
            )
        ]
        before = self._known(outputs)
        strangers = {row.prompt.prompt_id: row.prompt for row in rows}
        unknown = [prompt for key, prompt in strangers.items() if key not in before]
        with trainer.precision_plugin.predict_step_context():
            unedited = self._measured([(prompt, (), 1.0) for prompt in unknown])
            before |= {p.prompt_id: m for p, m in zip(unknown, unedited, strict=True)}
            # Nothing is run where nothing is edited: such rows stay as they were, exactly.
            edited = [row for row in rows if row.neurons]
            after = self._measured([(row.prompt, row.neurons, row.factor) for row in edited])
        results = {id(row): result for row, result in zip(edited, after, strict=True)}
        outputs.edits = self._table(
            rows,
            [before[row.prompt.prompt_id] for row in rows],
            [results.get(id(row), before[row.prompt.prompt_id]) for row in rows],
        )
        outputs.seconds["edits"] = time.perf_counter() - start

    @staticmethod
    def _known(outcome: Outcome) -> dict[str, Measured]:
        """The pack's own prompts, as attribution's base pass measured them."""
        attribution = outcome.attribution
        columns = (
            attribution.probability.tolist(),
            attribution.log_odds.tolist(),
            attribution.rank.tolist(),
            attribution.argmax.tolist(),
        )
        measured = map(Measured, *columns)
        return {p.prompt_id: m for p, m in zip(outcome.prompts, measured, strict=True)}

    def _measured(
        self, rows: Sequence[tuple[EncodedPrompt, Sequence[Neuron], float]]
    ) -> list[Measured]:
        """Each prompt's answer with its neurons edited; all rows in few batched forward passes."""
        encoder: Encoder = self._encoder
        forward = HookedForward(encoder)
        results: list[Measured | None] = [None] * len(rows)
        prompts = [prompt for prompt, _, _ in rows]
        most_rows = max(1, _HEAD_FLOATS // encoder.model.config.vocab_size)
        for chunk in length_chunks(prompts, self._row_tokens, most_rows):
            batch = encoder.batch(prompts[i] for i in chunk)
            edits = row_edits((rows[i][1], rows[i][2]) for i in chunk)
            edits = type(edits)(*(part.to(encoder.device) for part in edits))
            statistics = answer_statistics(forward.edited_logits(batch, edits), batch.answer)
            for i, *values in zip(chunk, *(part.tolist() for part in statistics), strict=True):
                results[i] = Measured(*values)
        return [result for result in results if result is not None]

    def _table(
        self, rows: Sequence[EditRow], before: Sequence[Measured], after: Sequence[Measured]
    ) -> pa.Table:
        words = {m.argmax: self._encoder.token(m.argmax) for m in {*before, *after}}
        return pa.table(
            {
                "concept": [row.concept for row in rows],
                "prompt_id": [row.prompt.prompt_id for row in rows],
                "prompt_kind": [row.kind for row in rows],
                "edit": [edit_name(row.factor) for row in rows],
                "neurons": [row.source for row in rows],
                "n_neurons": [len(row.neurons) for row in rows],
                "probability_before": [m.probability for m in before],
                "probability_after": [m.probability for m in after],
                "log_odds_before": [m.log_odds for m in before],
                "log_odds_after": [m.log_odds for m in after],
                "rank_before": [m.rank for m in before],
                "rank_after": [m.rank for m in after],
                "argmax_before": [words[m.argmax] for m in before],
                "argmax_after": [words[m.argmax] for m in after],
            },
            schema=TABLES["edits"],
        )
