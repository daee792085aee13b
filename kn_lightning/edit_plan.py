"""Which edits of a concept's neurons are measured on which prompts, with their controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from kn_lightning.core.edits import (
    held_out,
    matched_neurons,
    most_active_neurons,
    random_neurons,
    seeded_generator,
)
from kn_lightning.core.neurons import best_neurons
from kn_lightning.core.weights import LAMBDA_1, LAMBDA_2, check_weight_edits
from kn_lightning.data.study import Study
from kn_lightning.data.unrelated import UnrelatedPrompts
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import EncodedGroup, EncodedPrompt, Neuron

_MOST = 10_000
"""Of other prompts, and of random sets, for each concept."""
CONTROLS = ("activation", "foreign")
"""Controls besides random neurons; the names stand in the column ``neurons`` of the edits."""


@dataclass(frozen=True)
class EditSettings:
    """What is edited, and where that is measured; ``EditCallback`` explains each.

    Raises:
        InputError: a value that makes no sense.
    """

    factors: Sequence[float]
    unrelated: str
    unrelated_prompts: Sequence[str] | None
    others: int
    control_seeds: int
    controls: Sequence[str]
    holdout: float
    max_prompts: int | None
    seed: int
    weights: Sequence[str] = ()
    lambda_1: float = LAMBDA_1
    lambda_2: float = LAMBDA_2
    top: Sequence[int] = ()

    def __post_init__(self) -> None:
        bad = [factor for factor in self.factors if not -1e6 < factor < 1e6]
        if bad or not self.factors or len(set(self.factors)) != len(self.factors):
            raise InputError(
                f"edit.factors {list(self.factors)}: give different finite numbers, such as [0, 2]"
            )
        for name, value in (("others", self.others), ("control_seeds", self.control_seeds)):
            if not 0 <= value <= _MOST:
                raise InputError(f"edit.{name} {value}: give 0 to {_MOST:,}")
        unknown = sorted(set(self.controls) - set(CONTROLS))
        if unknown or len(set(self.controls)) != len(self.controls):
            raise InputError(
                f"edit.controls {list(self.controls)}: choose from {', '.join(CONTROLS)}, each once"
            )
        if not 0 <= self.holdout < 1:
            raise InputError(f"edit.holdout {self.holdout}: give a share from 0 to below 1")
        if self.max_prompts is not None and self.max_prompts < 1:
            raise InputError(f"edit.max_prompts {self.max_prompts}: give at least 1")
        if self.unrelated_prompts is not None and not self.unrelated_prompts:
            raise InputError("edit.unrelated_prompts []: give sentences with [MASK], or leave it")
        if any(k < 1 for k in self.top) or len(set(self.top)) != len(self.top):
            raise InputError(
                f"edit.top {list(self.top)}: give different numbers of neurons, such as [1, 2, 5]"
            )
        check_weight_edits(self.weights, self.lambda_1, self.lambda_2)

    def check(self, n_neurons: int) -> None:
        """See that a layer has neurons enough.

        Raises:
            InputError: all of the best neurons may lie in one layer, which then has too few others.
        """
        if max(self.top, default=0) > n_neurons // 2:
            raise InputError(
                f"edit.top {list(self.top)}: a layer has {n_neurons} neurons; give numbers up to "
                f"its half, {n_neurons // 2}, so that as many random ones are left"
            )


@dataclass(frozen=True)
class EditRow:
    """One edit of one prompt: a row of the edits table.

    Attributes:
        concept: the concept whose change is measured.
        prompt: where it is measured.
        kind: of the prompt: related, unrelated, other or negated.
        factor: what the neurons' activations are multiplied by.
        source: of the neurons: knowledge, random:k, activation or foreign; of the curve by number
            of neurons top:k, the k best ones, or top_random:k:draw.
        neurons: to be edited.
    """

    concept: str
    prompt: EncodedPrompt
    kind: str
    factor: float
    source: str
    neurons: Sequence[Neuron]


class EditPlan:
    """The edits of each concept of a study.

    All draws depend on the study and the seed alone: ranks, packs and order change nothing.
    """

    def __init__(self, encoder: Encoder, study: Study, settings: EditSettings) -> None:
        self.settings = settings
        self._n_neurons = encoder.structure.n_neurons
        self._prompts = UnrelatedPrompts(
            encoder,
            study.groups,
            settings.unrelated,
            study.beyond,
            settings.unrelated_prompts,
            study.several,
        )
        self._borrower = borrowers(study.groups, settings)

    def rows(
        self, group: EncodedGroup, neurons: list[Neuron], activations: Tensor
    ) -> Iterator[EditRow]:
        """All edits with one concept's neurons.

        Args:
            group: the concept.
            neurons: its knowledge neurons.
            activations: ``[B, L, I]`` of its prompts, untouched.
        """
        own, held = measured_prompts(group, self.settings), self.held_out(group)
        sets: list[tuple[str, str, Sequence[EncodedPrompt], list[Neuron]]] = [
            ("knowledge", "related", own, neurons),
            ("knowledge", "unrelated", self.unrelated(group), neurons),
            ("knowledge", "other", self.others(group), neurons),
            ("knowledge", "negated", group.negated, neurons),
        ]
        for name, drawn in self.random_controls(group, neurons):
            sets.append((name, "related", own, drawn))
        if "activation" in self.settings.controls:
            active = most_active_neurons(neurons, activations[~held])
            sets.append(("activation", "related", own, active))
        borrower = self._borrower.get(group.concept)
        for factor in self.settings.factors:
            for source, kind, prompts, edited in sets:
                for prompt in prompts:
                    yield EditRow(group.concept, prompt, kind, factor, source, edited)
            if borrower is not None:
                for prompt in measured_prompts(borrower, self.settings):
                    yield EditRow(borrower.concept, prompt, "related", factor, "foreign", neurons)

    def top_rows(self, group: EncodedGroup, scores: Tensor) -> Iterator[EditRow]:
        """Its k best neurons suppressed for every k, and k random ones of the same layers.

        The best are those with the largest mean score on the prompts that refinement may see,
        knowledge neurons or not; with every k come those of a smaller k.

        Args:
            group: the concept.
            scores: ``[B, L, I]`` attributions of its prompts.
        """
        sizes = sorted(self.settings.top)
        if not sizes:
            return
        best = best_neurons(scores[~self.held_out(group)], sizes[-1])
        orders = {"top:{k}": best}
        for draw in range(self.settings.control_seeds):
            generator = seeded_generator(self.settings.seed, "top", group.concept, draw)
            random = matched_neurons(best, self._n_neurons, generator)
            orders[f"top_random:{{k}}:{draw}"] = random
        for name, order in orders.items():
            for k in sizes:
                edited, source = order[:k], name.format(k=k)
                for prompt in measured_prompts(group, self.settings):
                    yield EditRow(group.concept, prompt, "related", 0.0, source, edited)

    def random_controls(
        self, group: EncodedGroup, neurons: Sequence[Neuron]
    ) -> Iterator[tuple[str, list[Neuron]]]:
        """Draws of other neurons, as many in each layer, with their names in the tables."""
        return random_controls(group.concept, neurons, self._n_neurons, self.settings)

    def held_out(self, group: EncodedGroup) -> Tensor:
        """Which of a concept's prompts refinement left out."""
        return _held_out(group, self.settings)

    def unrelated(self, group: EncodedGroup) -> Sequence[EncodedPrompt]:
        """Prompts of the unrelated concept."""
        return self._prompts.unrelated(group)

    def others(self, group: EncodedGroup) -> list[EncodedPrompt]:
        """Prompts drawn from other concepts."""
        generator = seeded_generator(self.settings.seed, group.concept)
        return self._prompts.others(group, self.settings.others, generator)


def borrowers(groups: Sequence[EncodedGroup], settings: EditSettings) -> dict[str, EncodedGroup]:
    """On whose prompts each concept's neurons are measured as ``foreign`` ones.

    Each lends its neurons to the next one in a random ring. So the rows of foreign neurons can be
    measured where the lender's neurons are known, wherever the borrower's are.
    """
    if "foreign" not in settings.controls:
        return {}
    ring = seeded_generator(settings.seed, "foreign").permutation(len(groups)).tolist()
    return {
        groups[lender].concept: groups[borrower]
        for lender, borrower in zip(ring, ring[1:] + ring[:1], strict=True)
        # "Kitten" and "kitten" are no strangers to each other.
        if groups[lender].concept.casefold() != groups[borrower].concept.casefold()
    }


def borrowed_tokens(groups: Sequence[EncodedGroup], settings: EditSettings) -> dict[str, int]:
    """Tokens of those prompts, by the concept whose neurons are borrowed."""
    return {
        concept: sum(len(prompt.input_ids) for prompt in measured_prompts(borrower, settings))
        for concept, borrower in borrowers(groups, settings).items()
    }


def measured_prompts(group: EncodedGroup, settings: EditSettings) -> Sequence[EncodedPrompt]:
    """A concept's own prompts on which edits are measured."""
    held = _held_out(group, settings).tolist()
    chosen = [prompt for prompt, out in zip(group.prompts, held, strict=True) if out]
    # Nothing is held out where nothing is asked for, or where there is only one prompt.
    return (chosen or group.prompts)[: settings.max_prompts]


def _held_out(group: EncodedGroup, settings: EditSettings) -> Tensor:
    return held_out(group.concept, len(group.prompts), settings.holdout, settings.seed)


def random_controls(
    concept: str, neurons: Sequence[Neuron], n_neurons: int, settings: EditSettings
) -> Iterator[tuple[str, list[Neuron]]]:
    """Draws of other neurons than a concept's, as many in each layer, with their names.

    Args:
        concept: whose neurons they are.
        neurons: these.
        n_neurons: neurons a layer has.
        settings: with the number of draws and the seed.
    """
    for k in range(settings.control_seeds):
        generator = seeded_generator(settings.seed, concept, k)
        yield f"random:{k}", random_neurons(neurons, n_neurons, generator)
