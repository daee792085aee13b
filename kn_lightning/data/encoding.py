"""A prompt and its answer -> token ids, the masks' places and the answer's tokens; or why not."""

from __future__ import annotations

from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import MASK, EncodedGroup, EncodedPrompt, Prompt, PromptGroup, Skipped

SINGLE, MULTI = "single", "multi"
"""Which answers are asked about: those of one token, or those of several too."""
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
    """Encode one prompt, with its answer as the tokenizer writes it at that very place.

    The answer is read off the filled-in sentence, not looked up alone: casing, leading spaces
    (RoBERTa's ``Ġword``) and accents are then the tokenizer's own affair, and a word that is no
    single token of the vocabulary is found out instead of being turned into ``[UNK]``. What the
    encoder gets is that sentence with a mask for each token of the answer, as in its training.

    Args:
        encoder: whose tokenizer reads it.
        prompt: a sentence with one ``[MASK]``.
        concept: its answer.
        prompt_id: of the result.
        several: the answer may be of several tokens.
    """
    tokenizer = encoder.tokenizer
    mask = tokenizer.mask_token_id

    def skip(reason: str) -> Skipped:
        return Skipped(concept, prompt.text, reason)

    if prompt.text.count(MASK) != 1:
        return skip(f"the prompt has {prompt.text.count(MASK)} masks instead of one")
    # No truncation: it could cut off the mask. verbose=False: the length is checked below.
    masked, filled = (
        tokenizer(prompt.text.replace(MASK, word), verbose=False).input_ids
        for word in (str(tokenizer.mask_token), concept)
    )
    if masked.count(mask) != 1:
        return skip("the prompt contains the tokenizer's mask token besides [MASK]")
    place = _answer_place(
        list(tokenizer.convert_ids_to_tokens(filled)),
        list(tokenizer.convert_ids_to_tokens(masked)),
        masked.index(mask),
    )
    if place is None:
        return skip("the answer merges with the words around it")
    pieces = filled[place.start : place.stop]
    if not pieces or (len(pieces) > 1 and not several):
        return skip(f"the answer is {len(pieces)} tokens, not one")
    if len(filled) > encoder.max_tokens:
        return skip(f"the prompt has {len(filled)} tokens, the encoder takes {encoder.max_tokens}")
    if set(pieces) & set(tokenizer.all_special_ids):
        return skip("the answer is not in the vocabulary")
    ids = [*filled[: place.start], *[mask] * len(pieces), *filled[place.stop :]]
    return EncodedPrompt(
        prompt_id, concept, prompt.text, prompt.relation, tuple(ids), tuple(place), tuple(pieces)
    )


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
    encoded: list[EncodedPrompt] = []
    skipped: list[Skipped] = []
    for number, prompt in enumerate(group.prompts):
        result = encode_prompt(encoder, prompt, group.concept, f"{group.concept}/{number}", several)
        if isinstance(result, EncodedPrompt):
            encoded.append(result)
        else:
            skipped.append(result)
    if not encoded:
        reasons = {skip.reason for skip in skipped}
        if len(reasons) == 1:
            skipped = [Skipped(group.concept, None, reasons.pop())]
        return None, skipped
    results = [
        encode_prompt(encoder, prompt, group.concept, f"{group.concept}/not/{number}", several)
        for number, prompt in enumerate(group.negated)
    ]
    skipped += [result for result in results if isinstance(result, Skipped)]
    negated = tuple(result for result in results if isinstance(result, EncodedPrompt))
    return EncodedGroup(group.concept, group.pos, tuple(encoded), negated), skipped
