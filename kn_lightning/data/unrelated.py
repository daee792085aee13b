"""Prompts that a concept's neurons should leave alone: an unrelated concept's, and others'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kn_lightning.data.encoding import encode_group, encode_prompt
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import EncodedGroup, EncodedPrompt, Prompt, PromptGroup, Skipped

LONDON = PromptGroup(
    "london",
    tuple(
        Prompt(text)
        for text in (
            "[MASK] is the capital of england.",
            "The capital of england is [MASK].",
            "The river thames flows through [MASK].",
            "[MASK] is the largest city in the united kingdom.",
        )
    ),
)
"""The paper's unrelated concept, for data that has no prompts of it."""


class UnrelatedPrompts:
    """Where unrelated and other prompts come from.

    Args:
        encoder: which has to know the answers.
        groups: the study's groups.
        beyond: groups of the same data that the study leaves out, of use for the unrelated one.
        name: the unrelated concept. Its prompts are those of the data; where the data has none,
            the ones that come with this package (london); and where the vocabulary lacks it too,
            those of the first concept of the data that shares no prompt.
        texts: prompts of ``name`` to be used instead of all these.
        several: answers may be of several tokens.

    Raises:
        InputError: no prompts of ``name``, or the encoder can't be asked one that is given.
    """

    def __init__(
        self,
        encoder: Encoder,
        groups: Sequence[EncodedGroup],
        name: str,
        beyond: Sequence[PromptGroup] = (),
        texts: Sequence[str] | None = None,
        several: bool = False,
    ) -> None:
        self.groups = groups
        self.fixed = (
            next((g for g in groups if g.concept.casefold() == name.casefold()), None)
            if texts is None
            else _given(encoder, name, texts, several)
        )
        packaged = [LONDON] if name.casefold() == LONDON.concept else []
        for group in (*beyond, *packaged):
            if self.fixed is None and group.concept.casefold() == name.casefold():
                self.fixed, _ = encode_group(encoder, group, several)
        if self.fixed is None and name.casefold() != LONDON.concept:
            raise InputError(
                f"edit.unrelated {name!r}: the data has no such concept that the encoder knows;"
                " name another, or give edit.unrelated_prompts"
            )
        self.name = groups[0].concept if self.fixed is None else self.fixed.concept
        """The concept whose prompts serve; all but that concept itself are measured on them."""
        # "Kitten" and "kitten" are no strangers to each other.
        names = {group.concept.casefold(): number for number, group in enumerate(groups)}
        self._names = names
        self._owner = np.array([names[g.concept.casefold()] for g in groups for _ in g.prompts])
        self._prompts = [prompt for group in groups for prompt in group.prompts]

    def foreign_texts(self) -> list[str]:
        """Prompts of the unrelated concept that are none of the study's, so in none of its tables.

        Those that are given, of this package, or of a group that the study leaves out.
        """
        fixed = () if self.fixed is None or self.fixed in self.groups else self.fixed.prompts
        return [prompt.text for prompt in fixed]

    def unrelated(self, group: EncodedGroup) -> tuple[EncodedPrompt, ...]:
        """Prompts of the unrelated concept; none only where all concepts share prompts."""
        texts = {prompt.text for prompt in group.prompts}
        for candidate in (*([self.fixed] if self.fixed else []), *self.groups):
            if candidate.concept.casefold() != group.concept.casefold() and texts.isdisjoint(
                prompt.text for prompt in candidate.prompts
            ):
                return candidate.prompts
        return ()

    def others(
        self, group: EncodedGroup, count: int, generator: np.random.Generator
    ) -> list[EncodedPrompt]:
        """A sample of ``count`` prompts of other concepts, none of them also this one's."""
        texts = {prompt.text for prompt in group.prompts}
        foreign = np.flatnonzero(self._owner != self._names[group.concept.casefold()])
        drawn: list[EncodedPrompt] = []
        for index in generator.permutation(foreign):
            if len(drawn) == count:
                break
            if self._prompts[index].text not in texts:
                drawn.append(self._prompts[index])
        return drawn


def _given(encoder: Encoder, name: str, texts: Sequence[str], several: bool) -> EncodedGroup:
    encoded = []
    for number, text in enumerate(texts):
        # An id of its own: the data may have prompts of the same concept.
        result = encode_prompt(encoder, Prompt(text), name, f"{name}/unrelated/{number}", several)
        if isinstance(result, Skipped):
            raise InputError(
                f"edit.unrelated_prompts {text!r:.60} with the answer {name!r:.60}"
                f" (edit.unrelated): {result.reason}"
            )
        encoded.append(result)
    return EncodedGroup(name, None, tuple(encoded))
