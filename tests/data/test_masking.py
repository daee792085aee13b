"""Batches for training: what is hidden, what is asked for, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from encoders.tiny import PROMPTS

from kn_lightning.data.masking import ConceptMasking, MaskedPrompts, RandomMasking
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import EncodedPrompt

Encode = Callable[..., list[EncodedPrompt]]
SHORT = "every cow was once a calf on the farm."
LONG = "rome is the capital of italy and a large city on the river."


def sentences(encoder: Encoder, copies: int) -> list[list[int]]:
    """Two sentences of different lengths, over and over."""
    return [list(encoder.tokenizer(text)["input_ids"]) for text in (SHORT, LONG)] * copies


def padded(rows: list[list[int]]) -> torch.Tensor:
    """Rows padded with 0, the tiny BERT's padding."""
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def test_masked_prompts_ask_for_the_concept_alone(bert: Encoder, encode: Encode) -> None:
    prompts = encode(bert)
    batch = MaskedPrompts(bert)(prompts)
    assert torch.equal(batch["input_ids"], padded([list(p.input_ids) for p in prompts]))
    for row, prompt in enumerate(prompts):
        length = len(prompt.input_ids)
        assert batch["attention_mask"][row].sum() == length
        assert batch["attention_mask"][row, :length].all()
        asked = (batch["labels"][row] != -100).nonzero().flatten().tolist()
        assert asked == [prompt.mask_positions[0]]
        assert batch["labels"][row, prompt.mask_positions[0]] == prompt.answers[0]
        assert batch["input_ids"][row, prompt.mask_positions[0]] == bert.tokenizer.mask_token_id


def test_answers_of_several_tokens_are_asked_for_at_every_mask(
    bert: Encoder, encode: Encode
) -> None:
    pairs = [("they were [MASK] on the farm.", "young cat"), *PROMPTS[1:3], ("[MASK].", "played")]
    prompts = encode(bert, pairs, several=True)
    assert [len(prompt.answers) for prompt in prompts] == [2, 1, 1, 2]
    batch = MaskedPrompts(bert)(prompts)
    for prompt, ids, labels in zip(prompts, batch["input_ids"], batch["labels"], strict=True):
        asked = labels != -100
        assert asked.nonzero().flatten().tolist() == list(prompt.mask_positions)
        assert labels[asked].tolist() == list(prompt.answers)
        assert (ids[asked] == bert.tokenizer.mask_token_id).all()

    never = ConceptMasking(bert, concept_share=0.0)(prompts)
    filled = torch.where(batch["labels"] == -100, batch["input_ids"], batch["labels"])
    kept = never["labels"] == -100
    assert torch.equal(never["input_ids"][kept], filled[kept])
    assert torch.equal(never["labels"][~kept], filled[~kept])


def test_random_masking_hides_a_share_of_words_and_asks_for_those(bert: Encoder) -> None:
    rows = sentences(bert, 500)
    batch = RandomMasking(bert)(rows)
    original = padded(rows)
    asked = batch["labels"] != -100
    special = torch.isin(original, torch.tensor(bert.tokenizer.all_special_ids))
    assert not (asked & special).any()
    assert torch.equal(batch["labels"][asked], original[asked])
    assert torch.equal(batch["input_ids"][~asked], original[~asked])
    # About 13,000 words: the share's standard deviation is 0.3 %.
    assert (asked.sum() / (~special).sum()).item() == pytest.approx(0.15, abs=0.015)
    masked = batch["input_ids"][asked] == bert.tokenizer.mask_token_id
    assert masked.float().mean().item() == pytest.approx(0.8, abs=0.05)
    assert torch.equal(batch["attention_mask"], (original != 0).long())


def test_random_masking_draws_anew_unless_it_has_a_seed(bert: Encoder) -> None:
    rows = sentences(bert, 20)
    free, fixed = RandomMasking(bert), RandomMasking(bert, seed=0)
    assert not torch.equal(free(rows)["labels"], free(rows)["labels"])
    first = fixed(rows)
    free(rows)
    torch.manual_seed(1)
    second = fixed(rows)
    for key in first:
        assert torch.equal(first[key], second[key]), key


def test_probability_is_the_share_of_hidden_words(bert: Encoder) -> None:
    rows = sentences(bert, 200)
    words = sum(len(row) - 2 for row in rows)
    asked = (RandomMasking(bert, probability=0.5)(rows)["labels"] != -100).sum()
    assert (asked / words).item() == pytest.approx(0.5, abs=0.04)


def test_concept_masking_always_or_never_hides_the_concept(bert: Encoder, encode: Encode) -> None:
    prompts = encode(bert)
    always = ConceptMasking(bert, concept_share=1.0)(prompts)
    plain = MaskedPrompts(bert)(prompts)
    assert all(torch.equal(always[key], plain[key]) for key in plain)

    never = ConceptMasking(bert, concept_share=0.0)(prompts)
    filled = plain["input_ids"].clone()
    filled[plain["labels"] != -100] = torch.tensor([prompt.answers[0] for prompt in prompts])
    asked = never["labels"] != -100
    assert torch.equal(never["labels"][asked], filled[asked])
    assert torch.equal(never["input_ids"][~asked], filled[~asked])
    assert torch.equal(never["attention_mask"], plain["attention_mask"])


def test_concept_masking_hides_the_concept_in_the_share_of_prompts(
    bert: Encoder, encode: Encode
) -> None:
    (prompt,) = encode(bert, [("every cow was once a [MASK] on the farm.", "calf")])
    batch = ConceptMasking(bert, concept_share=0.7)([prompt] * 2000)
    plain = MaskedPrompts(bert)([prompt])
    by_concept = (batch["input_ids"] == plain["input_ids"]).all(1)
    by_concept &= (batch["labels"] == plain["labels"]).all(1)
    # 0.7, and the few where random masking happened to do the same; standard deviation 1 %.
    assert by_concept.float().mean().item() == pytest.approx(0.71, abs=0.045)
    # In the others the concept is filled in: hidden only as often as any word.
    others = batch["input_ids"][~by_concept][:, prompt.mask_positions[0]]
    assert (others == prompt.answers[0]).float().mean() > 0.75
