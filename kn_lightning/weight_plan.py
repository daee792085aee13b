"""Which weight edits of a concept's neurons are measured on which prompts, with their controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kn_lightning.core.edits import seeded_generator
from kn_lightning.core.weights import UPDATE, WeightEdit
from kn_lightning.data.new_answers import NewAnswers, answer_tokens
from kn_lightning.data.study import Study
from kn_lightning.edit_plan import EditPlan, EditSettings
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.weights import check_editable, weight_edit
from kn_lightning.errors import InputError
from kn_lightning.schema import EncodedGroup, EncodedPrompt, Neuron

MOST_UNRELATED = 8
"""Of the unrelated concept's prompts, drawn once for all concepts: each one is a whole forward pass
in every state of the weights, and some data have a hundred."""


@dataclass(frozen=True)
class WeightState:
    """One state of the encoder's weights.

    Attributes:
        name: of the edit.
        source: of the neurons: knowledge or random:k.
        neurons: whose value vectors are edited.
        edit: of these.
        target: the new answer, where the edit has one.
    """

    name: str
    source: str
    neurons: Sequence[Neuron]
    edit: WeightEdit
    target: str | None


@dataclass(frozen=True)
class ConceptWeights:
    """All weight edits of one concept.

    Attributes:
        concept: whose neurons are edited.
        prompts: on which each edit is measured.
        kinds: of these: related (refinement saw them), held_out, unrelated or other.
        targets: token of the new answer at each prompt's mask; None where it is no single one, or
            the prompt's own answer; empty without a new answer.
        states: of the weights, one after another.
    """

    concept: str
    prompts: Sequence[EncodedPrompt]
    kinds: Sequence[str]
    targets: Sequence[int | None]
    states: Sequence[WeightState]


class WeightPlan:
    """The weight edits of each concept of a study; draws are those of the other edits.

    Raises:
        InputError: an edit isn't defined for the encoder, or no other answer for the study.
    """

    def __init__(self, encoder: Encoder, study: Study, settings: EditSettings) -> None:
        check_editable(encoder, settings.weights)
        if UPDATE in settings.weights and len({g.concept.casefold() for g in study.groups}) < 2:
            raise InputError(
                f"edit.weights {UPDATE}: the study has one concept, and no other that could be its"
                " new answer; study more concepts, or leave it out"
            )
        self._encoder = encoder
        self._settings = settings
        self._lambdas = settings.lambda_1, settings.lambda_2
        self._edits = EditPlan(encoder, study, settings)
        self._answers = NewAnswers(encoder, study.groups, settings.seed)

    def of(self, group: EncodedGroup, neurons: Sequence[Neuron]) -> ConceptWeights:
        """The weight edits with one concept's neurons."""
        by_kind = self._prompts(group)
        prompts = [prompt for part in by_kind.values() for prompt in part]
        kinds = [kind for kind, part in by_kind.items() for _ in part]
        wanted = UPDATE in self._settings.weights
        answer = self._answers.of(group) if wanted else None
        sources = list(self._sources(group, neurons))
        states = []
        for name in self._settings.weights:
            if name != UPDATE:
                edit, target = weight_edit(self._encoder, name), None
            elif answer is not None:
                edit = weight_edit(self._encoder, name, answer.old, answer.new, *self._lambdas)
                target = answer.concept
            else:
                continue
            states += [WeightState(name, source, own, edit, target) for source, own in sources]
        targets: list[int | None] = []
        if answer is not None:
            tokens = answer_tokens(self._encoder, prompts, answer.concept)
            targets = [
                None if len(prompt.answers) > 1 or prompt.answers == (token,) else token
                for token, prompt in zip(tokens, prompts, strict=True)
            ]
        return ConceptWeights(group.concept, prompts, kinds, targets, states)

    def _prompts(self, group: EncodedGroup) -> dict[str, Sequence[EncodedPrompt]]:
        """By kind; the concept's own by whether refinement saw them."""
        held, most = self._edits.held_out(group).tolist(), self._settings.max_prompts
        own = list(zip(group.prompts, held, strict=True))
        return {
            "related": [prompt for prompt, out in own if not out][:most],
            "held_out": [prompt for prompt, out in own if out][:most],
            "unrelated": self._unrelated(group),
            "other": self._edits.others(group),
        }

    def _unrelated(self, group: EncodedGroup) -> list[EncodedPrompt]:
        prompts = self._edits.unrelated(group)
        generator = seeded_generator(self._settings.seed, "unrelated")
        return [prompts[i] for i in sorted(generator.permutation(len(prompts))[:MOST_UNRELATED])]

    def _sources(
        self, group: EncodedGroup, neurons: Sequence[Neuron]
    ) -> Iterator[tuple[str, Sequence[Neuron]]]:
        yield "knowledge", neurons
        yield from self._edits.random_controls(group, neurons)
