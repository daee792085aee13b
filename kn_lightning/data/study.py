"""Prompt groups -> a study: encoded groups, what was skipped, and packs to compute together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kn_lightning.data.encoding import encode_group
from kn_lightning.data.part_of_speech import Tagger, tagged
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import EncodedGroup, Prompt, PromptGroup, Skipped


class Pack:
    """Groups that are computed together; ``number`` counts the packs of the study from 0.

    No dataclass: Lightning would take it apart to look for tensors that want another precision.
    """

    def __init__(self, number: int, groups: tuple[EncodedGroup, ...]) -> None:
        self.number = number
        self.groups = groups

    @property
    def tokens(self) -> int:
        """Of all its prompts."""
        return sum(len(prompt.input_ids) for group in self.groups for prompt in group.prompts)


@dataclass(frozen=True)
class Study:
    """All groups of a study in the data's order.

    Attributes:
        groups: those that the encoder can be asked about.
        skipped: prompts and concepts that were left out, with the reason.
        packs: the groups again, cut by a token budget. They depend on the study alone, so any
            number of devices computes the same things together and gets the same result.
        sha256: of the groups as read, before encoding and tagging.
        beyond: groups of the source that the settings left out.
        several: answers may be of several tokens.
    """

    groups: tuple[EncodedGroup, ...]
    skipped: tuple[Skipped, ...]
    packs: tuple[Pack, ...]
    sha256: str
    beyond: tuple[PromptGroup, ...] = ()
    several: bool = False

    @property
    def pos_sha256(self) -> str:
        """Of the concepts' parts of speech: where nltk's tagger is missing, they have none."""
        pos = [(group.concept, group.pos) for group in self.groups]
        return hashlib.sha256(json.dumps(pos, ensure_ascii=False).encode()).hexdigest()


def merged_groups(groups: Iterable[PromptGroup]) -> list[PromptGroup]:
    """One group a concept, in order of first appearance; a prompt that is there already is dropped.

    A group is *all* prompts whose answer is the concept, and results are kept by concept, so lines
    of the same concept belong together.
    """
    prompts: dict[str, dict[str, Prompt]] = {}
    negated: dict[str, dict[str, Prompt]] = {}
    pos: dict[str, str | None] = {}
    for group in groups:
        for kept, given in ((prompts, group.prompts), (negated, group.negated)):
            texts = kept.setdefault(group.concept, {})
            for prompt in given:
                texts.setdefault(prompt.text, prompt)
        pos[group.concept] = pos.get(group.concept) or group.pos
    return [
        PromptGroup(name, tuple(texts.values()), pos[name], tuple(negated[name].values()))
        for name, texts in prompts.items()
    ]


def make_study(
    encoder: Encoder,
    groups: Sequence[PromptGroup],
    pack_tokens: int,
    beyond: Sequence[PromptGroup] = (),
    excluded: Sequence[Skipped] = (),
    tagger: Tagger | None = None,
    several: bool = False,
) -> Study:
    """Encode groups and plan the packs.

    Args:
        encoder: reads the prompts.
        groups: to be studied.
        pack_tokens: tokens of a pack.
        beyond: groups that the settings left out.
        excluded: what the source left out already.
        tagger: gives concepts without a part of speech theirs.
        several: answers may be of several tokens.

    Raises:
        InputError: nothing is left to be studied.
    """
    encoded: list[EncodedGroup] = []
    skipped: list[Skipped] = list(excluded)
    for group in groups:
        kept, left_out = encode_group(encoder, group, several)
        skipped += left_out
        if kept is not None:
            encoded.append(kept if tagger is None else tagged(kept, tagger))
    if not encoded:
        reason = f"; the first: {skipped[0].concept!r:.60}: {skipped[0].reason}" if skipped else ""
        raise InputError(
            f"no prompt group is left of {len(groups)}{reason}; give answers that are one token"
            " of the encoder, or model.answers multi, in prompts that it takes"
        )
    content = [
        (
            group.concept,
            group.pos,
            [(prompt.text, prompt.relation) for prompt in group.prompts],
            [prompt.text for prompt in group.negated],
        )
        for group in groups
    ]
    sha256 = hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()
    packs = planned_packs(encoded, pack_tokens)
    return Study(tuple(encoded), tuple(skipped), packs, sha256, tuple(beyond), several)


def planned_packs(groups: Sequence[EncodedGroup], pack_tokens: int) -> tuple[Pack, ...]:
    """Consecutive groups of at most ``pack_tokens`` tokens; a group is never cut.

    Packs of a large study grow smaller towards its end, so that many ranks end together.
    """
    sizes = [sum(len(prompt.input_ids) for prompt in group.prompts) for group in groups]
    left = sum(sizes)
    smallest = pack_tokens // 8 if left > 32 * pack_tokens else pack_tokens
    packs: list[Pack] = []
    current: list[EncodedGroup] = []
    tokens = 0
    for group, own in zip(groups, sizes, strict=True):
        if current and tokens + own > min(pack_tokens, max(smallest, left // 96)):
            packs.append(Pack(len(packs), tuple(current)))
            left -= tokens
            current, tokens = [], 0
        current.append(group)
        tokens += own
    packs.append(Pack(len(packs), tuple(current)))
    return tuple(packs)
