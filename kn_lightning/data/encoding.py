"""A prompt and its answer -> token ids, the masks' places and the answer's tokens; or why not."""

from __future__ import annotations

from collections.abc import Sequence

from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import MASK, EncodedGroup, EncodedPrompt, Prompt, PromptGroup, Skipped

SINGLE, MULTI = "single", "multi"
"""Which answers are asked about: those of one token, or those of several too."""
_Found = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Of a prompt: its tokens, where its masks are, and the answer's tokens."""
_SPACE_MARKS = "▁Ġ"
"""What SentencePiece and byte-level BPE write for a space."""


def takes_several(answers: str) -> bool:
    """Whether answers may be of several tokens.

    Raises:
        InputError: neither ``single`` nor ``multi``.
    """
    if answers not in (SINGLE, MULTI):
        raise InputError(f"model.answers {answers!r}: choose one of {SINGLE}, {MULTI}")
    return answers == MULTI


def encode_prompt(
    encoder: Encoder, prompt: Prompt, concept: str, prompt_id: str, several: bool = False
) -> EncodedPrompt | Skipped:
    """:func:`encode_prompts` of one."""
    (encoded,) = encode_prompts(encoder, [prompt], concept, [prompt_id], several)
    return encoded


def encode_prompts(
    encoder: Encoder,
    prompts: Sequence[Prompt],
    concept: str,
    prompt_ids: Sequence[str],
    several: bool = False,
) -> list[EncodedPrompt | Skipped]:
    """Encode prompts, with their answer as the tokenizer writes it at that very place.

    The answer is read off the filled-in sentence, not looked up alone: casing, leading spaces
    (RoBERTa's ``Ġword``) and accents are then the tokenizer's own affair, and a word that is no
    single token of the vocabulary is found out instead of being turned into ``[UNK]``. What the
    encoder gets is that sentence with a mask for each token of the answer, as in its training.

    Args:
        encoder: whose tokenizer reads them, all at once.
        prompts: sentences with one ``[MASK]`` each.
        concept: their answer.
        prompt_ids: of the results.
        several: the answer may be of several tokens.
    """
    tokenizer = encoder.tokenizer
    masks = [prompt.text.count(MASK) for prompt in prompts]
    asked = [prompt.text for prompt, count in zip(prompts, masks, strict=True) if count == 1]
    texts = [
        text.replace(MASK, word) for word in (str(tokenizer.mask_token), concept) for text in asked
    ]
    # No truncation: it could cut off the mask. verbose=False: the length is checked below.
    ids = tokenizer(texts, verbose=False).input_ids if texts else []
    pairs = iter(zip(ids[: len(asked)], ids[len(asked) :], strict=True))
    special = frozenset(tokenizer.all_special_ids)
    results: list[EncodedPrompt | Skipped] = []
    for prompt, prompt_id, count in zip(prompts, prompt_ids, masks, strict=True):
        if count != 1:
            found: _Found | str = f"the prompt has {count} masks instead of one"
        else:
            found = _answer_in(encoder, *next(pairs), special, several)
        results.append(
            Skipped(concept, prompt.text, found)
            if isinstance(found, str)
            else EncodedPrompt(prompt_id, concept, prompt.text, prompt.relation, *found)
        )
    return results


def _answer_in(
    encoder: Encoder, masked: list[int], filled: list[int], special: frozenset[int], several: bool
) -> _Found | str:
    """Of a sentence with its mask and with its answer: the tokens, places and answers; or why not.

    Args:
        encoder: of these tokens.
        masked: the sentence with one mask.
        filled: the sentence with the answer.
        special: the tokenizer's special tokens.
        several: the answer may be of several tokens.
    """
    tokenizer = encoder.tokenizer
    mask = tokenizer.mask_token_id
    if masked.count(mask) != 1:
        return "the prompt contains the tokenizer's mask token besides [MASK]"
    if len(filled) > encoder.max_tokens:  # before its answer is looked for, which takes long there
        return f"the prompt has {len(filled)} tokens, the encoder takes {encoder.max_tokens}"
    place = _answer_place(
        list(tokenizer.convert_ids_to_tokens(filled)),
        list(tokenizer.convert_ids_to_tokens(masked)),
        masked.index(mask),
    )
    if place is None:
        return "the answer merges with the words around it"
    pieces = filled[place.start : place.stop]
    if not pieces or (len(pieces) > 1 and not several):
        return f"the answer is {len(pieces)} tokens, not one"
    if special & set(pieces):
        return "the answer is not in the vocabulary"
    ids = [*filled[: place.start], *[mask] * len(pieces), *filled[place.stop :]]
    return tuple(ids), tuple(place), tuple(pieces)


def _answer_place(filled: list[str], masked: list[str], mask: int) -> range | None:
    """Where in the ``filled`` tokens the answer is, with the space before it; None: it merges.

    Around it are the tokens of the ``masked`` sentence, whose mask is number ``mask``; but for the
    marks of spaces next to the mask: some mask tokens swallow the space before them and some don't,
    and SentencePiece takes what follows them for the beginning of a text (``▁.`` for ``.``).
    """
    before = "".join(masked[:mask]).rstrip(_SPACE_MARKS)
    behind = "".join(masked[mask + 1 :]).lstrip(_SPACE_MARKS)
    places = range(len(filled) + 1)
    for start in places:
        if "".join(filled[:start]).rstrip(_SPACE_MARKS) == before:
            for stop in places[start:]:
                if "".join(filled[stop:]).lstrip(_SPACE_MARKS) == behind:
                    return range(start, stop)
            return None
    return None


def encode_group(
    encoder: Encoder, group: PromptGroup, several: bool = False
) -> tuple[EncodedGroup | None, list[Skipped]]:
    """Encode a group; prompts that can't be are left out, and where none is left, the group is.

    Args:
        encoder: whose tokenizer reads it.
        group: of prompts with one answer.
        several: the answer may be of several tokens.

    Returns:
        The group, or None; and what was left out. Where all prompts fail for one reason that is
        one entry for the concept.
    """

    def results(prompts: Sequence[Prompt], kind: str) -> list[EncodedPrompt | Skipped]:
        ids = [f"{group.concept}/{kind}{number}" for number in range(len(prompts))]
        return encode_prompts(encoder, prompts, group.concept, ids, several)

    own = results(group.prompts, "")
    encoded = [result for result in own if isinstance(result, EncodedPrompt)]
    skipped = [result for result in own if isinstance(result, Skipped)]
    if not encoded:
        reasons = {skip.reason for skip in skipped}
        if len(reasons) == 1:
            skipped = [Skipped(group.concept, None, reasons.pop())]
        return None, skipped
    denied = results(group.negated, "not/")
    skipped += [result for result in denied if isinstance(result, Skipped)]
    negated = tuple(result for result in denied if isinstance(result, EncodedPrompt))
    return EncodedGroup(group.concept, group.pos, tuple(encoded), negated), skipped
