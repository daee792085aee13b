"""What a concept's answer is updated to: another concept of the study, drawn by its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kn_lightning.core.edits import seeded_generator
from kn_lightning.data.encoding import encode_prompt
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import EncodedGroup, EncodedPrompt, Prompt


@dataclass(frozen=True)
class NewAnswer:
    """What is to be answered instead.

    Attributes:
        concept: the new answer.
        old: token whose embedding is taken away.
        new: token whose embedding is added.
    """

    concept: str
    old: int
    new: int


class NewAnswers:
    """A new answer for each concept of a study.

    It is drawn from the concepts that have a relation in common with the old one, where there are
    any (as Dai et al. draw it), else from all; and it isn't the same word in another case, shares
    no prompt with the old one, whose answer it would then be already, and is one other token in
    each of the old one's prompts. An answer of several tokens has no embedding to be exchanged, so
    it gets none. The draw depends on the study and the seed alone.

    Args:
        encoder: which reads the answers.
        groups: the study's.
        seed: of the draws.
    """

    def __init__(self, encoder: Encoder, groups: Sequence[EncodedGroup], seed: int) -> None:
        self._encoder = encoder
        self._groups = groups
        self._seed = seed
        self._related: dict[str, list[int]] = {}
        for number, group in enumerate(groups):
            for relation in _relations(group):
                self._related.setdefault(relation, []).append(number)

    def of(self, group: EncodedGroup) -> NewAnswer | None:
        """The new answer of a concept, None where no other one will do."""
        if any(len(prompt.answers) > 1 for prompt in group.prompts):
            return None
        texts = {prompt.text for prompt in group.prompts}
        for other in self._candidates(group):
            if other.concept.casefold() == group.concept.casefold():
                continue
            if not texts.isdisjoint(prompt.text for prompt in other.prompts):
                continue
            tokens = answer_tokens(self._encoder, group.prompts, other.concept)
            # Words that differ by an accent alone can be one token.
            alike = any((t,) == p.answers for t, p in zip(tokens, group.prompts, strict=True))
            if None not in tokens and not alike:
                return new_answer(self._encoder, group.prompts, other.concept)
        return None

    def _candidates(self, group: EncodedGroup) -> Iterator[EncodedGroup]:
        """All groups in the order of the draw, those with a relation in common first."""
        generator = seeded_generator(self._seed, "update", group.concept)
        related = {n for relation in _relations(group) for n in self._related[relation]}
        for number in generator.permutation(sorted(related)):
            yield self._groups[int(number)]
        for number in generator.permutation(len(self._groups)):
            yield self._groups[int(number)]


def answer_tokens(
    encoder: Encoder, prompts: Iterable[EncodedPrompt], concept: str
) -> list[int | None]:
    """A concept's token at each prompt's mask; None where it is no single one there."""
    found = (encode_prompt(encoder, Prompt(prompt.text), concept, "") for prompt in prompts)
    return [result.answers[0] if isinstance(result, EncodedPrompt) else None for result in found]


def new_answer(
    encoder: Encoder, prompts: Sequence[EncodedPrompt], concept: str
) -> NewAnswer | None:
    """The tokens of prompts' answer and of a new one, None where that has none there.

    Where a tokenizer writes a word in several ways, each is the most frequent one.
    """
    known = [token for token in answer_tokens(encoder, prompts, concept) if token is not None]
    if not known:
        return None
    old = _most_frequent(prompt.answers[0] for prompt in prompts)
    return NewAnswer(concept, old, _most_frequent(known))


def _most_frequent(tokens: Iterable[int]) -> int:
    """The first of the most frequent ones."""
    return Counter(tokens).most_common(1)[0][0]


def _relations(group: EncodedGroup) -> set[str]:
    return {prompt.relation for prompt in group.prompts if prompt.relation is not None}
