"""Refined neurons of a pack -> answers before and after each edit of the neurons' weights."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from lightning import Callback, LightningModule, Trainer

from kn_lightning.attribution import length_chunks
from kn_lightning.core.probabilities import answer_statistics, joint_statistics
from kn_lightning.edit_plan import EditSettings
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.hooked import HookedForward
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.outcome import Outcome
from kn_lightning.ranks import on_all_ranks
from kn_lightning.schema import OPTIONAL_TABLES, EncodedPrompt
from kn_lightning.tables import check_finite
from kn_lightning.weight_plan import ConceptWeights, WeightPlan, WeightState


class Answered(NamedTuple):
    """What is said of a prompt: of its own answer, the argmax token, and of the new answer."""

    probability: float
    log_odds: float
    rank: int
    argmax: list[int]
    target_probability: float | None
    target_rank: int | None


class WeightCallback(Callback):
    """Weight edits of each concept's neurons, where ``edit.weights`` asks for them.

    Args:
        settings: of all edits; set by edit.
    """

    def __init__(self, settings: EditSettings) -> None:
        self.settings = settings
        self._plan: WeightPlan | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Plans the edits, and says before anything is written where one isn't defined."""
        if stage != "predict" or not self.settings.weights:
            return
        assert isinstance(pl_module, MaskedLanguageModel)
        study = trainer.datamodule.study  # type: ignore[attr-defined]
        encoder = pl_module.encoder
        self._plan = on_all_ranks(lambda: WeightPlan(encoder, study, self.settings))

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Adds ``weight_edits`` to the outcome."""
        if self._plan is None:
            return
        assert isinstance(outputs, Outcome)
        assert isinstance(pl_module, MaskedLanguageModel)
        start = time.perf_counter()
        rows: list[dict[str, Any]] = []
        for number, group in enumerate(outputs.pack.groups):
            planned = self._plan.of(group, outputs.neurons(number))
            with trainer.precision_plugin.predict_step_context():
                measure = partial(_measured, pl_module.encoder, planned)
                answered = pl_module.budget.run(measure)
            for state, after in zip(planned.states, answered[1:], strict=True):
                rows += _rows(pl_module.encoder, planned, state, answered[0], after)
        schema = OPTIONAL_TABLES["weight_edits"]
        outputs.weight_edits = pa.Table.from_pylist(rows, schema=schema)
        check_finite(outputs.weight_edits)
        outputs.seconds["weight_edits"] = time.perf_counter() - start


def _measured(encoder: Encoder, planned: ConceptWeights, row_tokens: int) -> list[list[Answered]]:
    """Of each prompt, with the weights untouched and in each state; whole forward passes."""
    prompts = planned.prompts
    before = _answered(encoder, prompts, planned.targets, row_tokens)
    states = [before]
    for state in planned.states:
        if not state.neurons:
            states.append(before)  # exactly
            continue
        targets = planned.targets if state.target is not None else ()
        with encoder.weights_edited(state.neurons, state.edit):
            states.append(_answered(encoder, prompts, targets, row_tokens))
    return states


@torch.no_grad()
def _answered(
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    targets: Sequence[int | None],
    row_tokens: int,
) -> list[Answered]:
    """Of each prompt, with the weights as they are now; ``targets`` may be empty."""
    forward = HookedForward(encoder)
    answered: dict[int, Answered] = {}
    # The same chunks in each state: what an edit leaves alone keeps every bit.
    for chunk in length_chunks(prompts, row_tokens):
        batch = encoder.batch(prompts[i] for i in chunk)
        logits = forward.logits(batch, {})
        statistics = joint_statistics(answer_statistics(logits, batch.answers))
        own = (part.tolist() for part in statistics)
        new: Sequence[Any] = [repeat(None), repeat(None)]
        if targets:
            tokens = [targets[i] for i in chunk]
            known = torch.tensor([token or 0 for token in tokens], device=logits.device)
            found = answer_statistics(logits[:, 0], known)  # of prompts with one mask
            columns = (found.probability.tolist(), found.rank.tolist())
            new = [
                [
                    None if token is None else value
                    for token, value in zip(tokens, column, strict=True)
                ]
                for column in columns
            ]
        answered |= zip(chunk, map(Answered, *own, *new), strict=True)
    return [answered[i] for i in range(len(prompts))]


def _rows(
    encoder: Encoder,
    planned: ConceptWeights,
    state: WeightState,
    before: Sequence[Answered],
    after: Sequence[Answered],
) -> Iterator[dict[str, Any]]:
    """Rows of the table, one a prompt."""
    updates = state.target is not None
    for prompt, kind, *both in zip(planned.prompts, planned.kinds, before, after, strict=True):
        row = {
            "concept": planned.concept,
            "prompt_id": prompt.prompt_id,
            "prompt_kind": kind,
            "edit": state.name,
            "neurons": state.source,
            "n_neurons": len(set(state.neurons)),
            "target": state.target,
        }
        for when, answer in zip(("before", "after"), both, strict=True):
            row |= {f"{name}_{when}": value for name, value in answer._asdict().items()}
            row[f"argmax_{when}"] = encoder.text(answer.argmax)
            if not updates:
                row |= {f"target_probability_{when}": None, f"target_rank_{when}": None}
        yield row
