"""A prompt and its answer -> token ids, the mask's place and the answer's token; or why not."""

from __future__ import annotations

from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import MASK, EncodedGroup, EncodedPrompt, Prompt, PromptGroup, Skipped


def encode_prompt(
    encoder: Encoder, prompt: Prompt, concept: str, prompt_id: str
) -> EncodedPrompt | Skipped:
    """Encode one prompt, with its answer as the tokenizer writes it at that very place.

    The answer is read off the filled-in sentence, not looked up alone: casing, leading spaces
    (RoBERTa's ``Ġword``) and accents are then the tokenizer's own affair, and a word that is no
    single token of the vocabulary is found out instead of being turned into ``[UNK]``.
    """
    tokenizer = encoder.tokenizer

    def skip(reason: str) -> Skipped:
        return Skipped(concept, prompt.text, reason)

    if prompt.text.count(MASK) != 1:
        return skip(f"the prompt has {prompt.text.count(MASK)} masks instead of one")
    # No truncation: it could cut off the mask. verbose=False: the length is checked below.
    masked = tokenizer(
        prompt.text.replace(MASK, str(tokenizer.mask_token)), verbose=False
    ).input_ids
    filled = tokenizer(prompt.text.replace(MASK, concept), verbose=False).input_ids
    if len(masked) > encoder.max_tokens:
        return skip(f"the prompt has {len(masked)} tokens, the encoder takes {encoder.max_tokens}")
    if masked.count(tokenizer.mask_token_id) != 1:
        return skip("the prompt contains the tokenizer's mask token besides [MASK]")
    position = masked.index(tokenizer.mask_token_id)
    behind = len(masked) - position - 1
    pieces = filled[position : len(filled) - behind]
    if (
        filled[:position] != masked[:position]
        or filled[len(filled) - behind :] != masked[position + 1 :]
    ):
        return skip("the answer merges with the words around it")
    if len(pieces) != 1:
        return skip(f"the answer is {len(pieces)} tokens, not one")
    if pieces[0] in tokenizer.all_special_ids:
        return skip("the answer is not in the vocabulary")
    return EncodedPrompt(
        prompt_id, concept, prompt.text, prompt.relation, tuple(masked), (position,), (pieces[0],)
    )


def encode_group(encoder: Encoder, group: PromptGroup) -> tuple[EncodedGroup | None, list[Skipped]]:
    """Encode a group; prompts that can't be are left out, and where none is left, the group is.

    Returns:
        The group, or None; and what was left out. Where all prompts fail for one reason that is
        one entry for the concept.
    """
    encoded: list[EncodedPrompt] = []
    skipped: list[Skipped] = []
    for number, prompt in enumerate(group.prompts):
        result = encode_prompt(encoder, prompt, group.concept, f"{group.concept}/{number}")
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
        encode_prompt(encoder, prompt, group.concept, f"{group.concept}/not/{number}")
        for number, prompt in enumerate(group.negated)
    ]
    skipped += [result for result in results if isinstance(result, Skipped)]
    negated = tuple(result for result in results if isinstance(result, EncodedPrompt))
    return EncodedGroup(group.concept, group.pos, tuple(encoded), negated), skipped
