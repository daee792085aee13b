"""Refined neurons of a pack -> the answers' probabilities before and after each edit."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from lightning import Callback, LightningModule, Trainer

from kn_lightning.attribution import PROMPTS_SHARE, length_chunks
from kn_lightning.core.edits import RowEdits, edit_name, row_edits
from kn_lightning.core.probabilities import AnswerStatistics
from kn_lightning.core.weights import LAMBDA_1, LAMBDA_2
from kn_lightning.data.dealing import PackCost
from kn_lightning.edit_plan import EditPlan, EditRow, EditSettings, borrowed_tokens
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.forwards import fastest_forward
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.outcome import Outcome
from kn_lightning.ranks import on_all_ranks
from kn_lightning.schema import TABLES
from kn_lightning.tables import check_finite, guesses


class Measured(NamedTuple):
    """The answer of one row: probability, log-odds, rank, argmax token of each mask."""

    probability: float
    log_odds: float
    rank: int
    argmax: list[int]


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
        weights: also edit the neurons' weights, which acts at all positions, and measure that on
            the prompts that were refined on, those held out, unrelated and other ones:
            ``erase_zero`` and ``erase_unk`` put 0 or [UNK]'s embedding for what a neuron adds,
            ``update`` replaces the answer by another concept of the study. Or a name of your own in
            ``core.weights.WEIGHT_EDITS``.
        lambda_1: of ``update``: how much of the old answer's embedding is taken away.
        lambda_2: of ``update``: how much of the new answer's embedding is added.
        top: also suppress each concept's so many best neurons, such as [1, 2, 5, 10, 20], beside as
            many random ones of the same layers: a curve by number of neurons.
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
        weights: list[str] | None = None,
        lambda_1: float = LAMBDA_1,
        lambda_2: float = LAMBDA_2,
        top: list[int] | None = None,
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
            weights or (),
            lambda_1,
            lambda_2,
            top or (),
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks the settings against the encoder, and says what edits add to packs' cost."""
        if stage == "predict":
            assert isinstance(pl_module, MaskedLanguageModel)
            n_neurons = pl_module.encoder.structure.n_neurons
            on_all_ranks(lambda: self.settings.check(n_neurons))
            data = trainer.datamodule  # type: ignore[attr-defined]
            data.cost = PackCost(borrowed_tokens(data.study.groups, self.settings))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plans the edits: finds the unrelated prompts, and who lends neurons to whom."""
        assert isinstance(pl_module, MaskedLanguageModel)
        study = trainer.datamodule.study  # type: ignore[attr-defined]
        self._encoder = pl_module.encoder
        self._budget = pl_module.budget
        # No collective: a rank without packs doesn't come here. What can be wrong with the prompts
        # was found when the run folder was opened.
        self._plan = EditPlan(self._encoder, study, self.settings)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Adds ``edits`` to the outcome."""
        assert isinstance(outputs, Outcome)
        start = time.perf_counter()
        found = outputs.attribution
        rows = [
            row
            for number, (group, place) in enumerate(outputs.groups())
            for row in (
                *self._plan.rows(group, outputs.neurons(number), found.activations[place]),
                *self._plan.top_rows(group, found.scores[place]),
            )
        ]
        with trainer.precision_plugin.predict_step_context():
            before, after = self._budget.run(partial(self._measured, rows))
        outputs.edits = self._table(
            rows,
            [before[row.prompt.prompt_id] for row in rows],
            # Nothing is run where nothing is edited: such rows stay as they were, exactly.
            [after.get(number, before[row.prompt.prompt_id]) for number, row in enumerate(rows)],
        )
        check_finite(outputs.edits)
        outputs.seconds["edits"] = time.perf_counter() - start

    def _measured(
        self, rows: Sequence[EditRow], row_tokens: int
    ) -> tuple[dict[str, Measured], dict[int, Measured]]:
        """Answers of prompts untouched, by id, and of rows with neurons to edit, by number."""
        encoder: Encoder = self._encoder
        # Nothing is kept for a backward: twice as much fits.
        forward = fastest_forward(encoder, 2 * row_tokens)
        prompts = list({row.prompt.prompt_id: row.prompt for row in rows}.values())
        edited: dict[str, list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            if row.neurons:
                edited[row.prompt.prompt_id].append(number)
        before: dict[str, Measured] = {}
        after: dict[int, Measured] = {}
        for chunk in length_chunks(prompts, max(1, row_tokens // PROMPTS_SHARE)):
            names = [prompts[i].prompt_id for i in chunk]
            base = forward.base(encoder.batch(prompts[i] for i in chunk))
            before |= zip(names, _measurements(base.statistics), strict=True)
            numbers = [number for name in names for number in edited[name]]
            place = [i for i, name in enumerate(names) for _ in edited[name]]
            edits = row_edits((rows[number].neurons, rows[number].factor) for number in numbers)
            statistics = forward.edited_statistics(
                base,
                torch.tensor(place, dtype=torch.long, device=encoder.device),
                RowEdits(*(part.to(encoder.device) for part in edits)),
            )
            after |= zip(numbers, _measurements(statistics), strict=True)
        return before, after

    def _table(
        self, rows: Sequence[EditRow], before: Sequence[Measured], after: Sequence[Measured]
    ) -> pa.Table:
        prompts = [row.prompt for row in rows]
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
                "argmax_before": guesses(self._encoder, prompts, [m.argmax for m in before]),
                "argmax_after": guesses(self._encoder, prompts, [m.argmax for m in after]),
            },
            schema=TABLES["edits"],
        )


def _measurements(statistics: AnswerStatistics) -> Iterator[Measured]:
    """Row after row."""
    return map(Measured, *(part.tolist() for part in statistics))
