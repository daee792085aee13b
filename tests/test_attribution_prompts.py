"""Answers and prompts that ``attribute`` takes, and those that it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from encoders.tiny import POSITIONS, PROMPTS, tiny_model

from kn_lightning import attribute, load_encoder
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError

TEXTS, ANSWERS = (list(column) for column in zip(*PROMPTS, strict=True))


# Answers: one token, as the tokenizer writes it at that very place


def refusal(encoder: Encoder, text: str, answer: str) -> str:
    with pytest.raises(InputError) as caught:
        attribute(encoder, [TEXTS[0], text], [ANSWERS[0], answer])
    message = str(caught.value)
    assert "prompt 1" in message  # which of the two
    assert repr(text) in message
    assert repr(answer) in message
    return message


@pytest.mark.parametrize("answer", ["playing", "cats", "wooles"])
def test_an_answer_that_is_several_tokens_is_refused_not_turned_into_unk(
    bert: Encoder, answer: str
) -> None:
    count = len(bert.tokenizer.tokenize(answer))
    assert count in (2, 3)
    assert bert.tokenizer.convert_tokens_to_ids(answer) == bert.tokenizer.unk_token_id
    assert f"{count} tokens" in refusal(bert, TEXTS[1], answer)


@pytest.mark.parametrize("answer", ["xylophone", "42", "[UNK]", "[SEP]", "[PAD]", "[CLS]"])
def test_an_answer_out_of_the_vocabulary_is_refused(bert: Encoder, answer: str) -> None:
    assert "vocabulary" in refusal(bert, TEXTS[1], answer)


@pytest.mark.parametrize("answer", ["", " ", "kitten puppy", "kitten.", "[MASK]"])
def test_an_answer_that_is_no_word_is_refused(bert: Encoder, answer: str) -> None:
    refusal(bert, TEXTS[1], answer)


def test_an_answer_is_the_word_alone_without_special_tokens(
    bert: Encoder, encode: Callable
) -> None:
    (prompt,) = encode(bert, [(TEXTS[1], "kitten")])
    assert prompt.answers[0] == bert.tokenizer.convert_tokens_to_ids("kitten")
    assert prompt.input_ids[prompt.mask_positions[0]] == bert.tokenizer.mask_token_id


@pytest.mark.parametrize("answer", ["Kitten", "KITTEN", "kitten ", " kitten"])
def test_an_uncased_tokenizer_lowers_answers_itself(bert: Encoder, answer: str) -> None:
    plain = attribute(bert, TEXTS[:1], ["kitten"], "riemann_left", 2)
    capital = attribute(bert, TEXTS[:1], [answer], "riemann_left", 2)
    assert torch.equal(plain.scores, capital.scores)


def test_a_cased_tokenizer_does_not_know_a_capitalised_word(tiny_encoders: Callable) -> None:
    encoder = tiny_encoders("modernbert", torch.float32)
    assert "vocabulary" in refusal(encoder, TEXTS[1], "Kitten")


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("[MASK] will grow up to be a cat.", "kitten"),  # at the start: without a space
        ("the young of a cat is a [MASK].", "Ġkitten"),
        ("a [MASK] is small.", "Ġkitten"),
    ],
)
def test_a_byte_level_answer_has_its_leading_space_where_there_is_one(
    roberta: Encoder, encode: Callable, text: str, token: str
) -> None:
    (prompt,) = encode(roberta, [(text, "kitten")])
    assert roberta.tokenizer.convert_ids_to_tokens(prompt.answers[0]) == token
    assert roberta.text(prompt.answers) == "kitten"


def test_a_byte_level_answer_in_brackets_is_the_one_without_a_space(
    roberta: Encoder, encode: Callable
) -> None:
    (prompt,) = encode(roberta, [("the cat .[MASK] is small", "kitten")])
    assert roberta.tokenizer.convert_ids_to_tokens(prompt.answers[0]) == "kitten"


def test_an_answer_that_merges_with_the_words_around_it_is_refused(roberta: Encoder) -> None:
    # Filled in, the sentence is cut up anew: no token of it stands for the answer alone.
    assert roberta.tokenizer.tokenize("the smalla is big")[1:4] == ["Ġ", "smal", "la"]
    assert "merges" in refusal(roberta, "the [MASK]a is big", "small")


def test_the_encoded_prompt_with_its_answer_is_the_filled_in_sentence(
    encoder: Encoder, encode: Callable
) -> None:
    for prompt, (text, answer) in zip(encode(encoder), PROMPTS, strict=True):
        filled = list(prompt.input_ids)
        filled[prompt.mask_positions[0]] = prompt.answers[0]
        assert filled == encoder.tokenizer(text.replace("[MASK]", answer)).input_ids


# Prompts: one mask, not too long


@pytest.mark.parametrize(
    ("text", "masks"), [("a cat is small", 0), ("a [MASK] is a [MASK]", 2), ("a [mask] is", 0)]
)
def test_a_prompt_without_exactly_one_mask_is_refused(
    encoder: Encoder, text: str, masks: int
) -> None:
    assert f"{masks} masks" in refusal(encoder, text, "kitten")


def test_a_second_mask_in_the_tokenizers_own_words_is_refused(roberta: Encoder) -> None:
    assert "mask token" in refusal(roberta, "a [MASK] is a <mask>", "kitten")


def test_a_prompt_longer_than_the_encoder_takes_is_refused_not_cut_off(bert: Encoder) -> None:
    longest = "cat " * (POSITIONS - 3)  # with [MASK], [CLS] and [SEP] just as many as fit
    attribute(bert, [f"{longest}[MASK]"], ["kitten"], "riemann_left", 1)
    message = refusal(bert, f"cat {longest}[MASK]", "kitten")
    assert f"{POSITIONS + 1} tokens" in message
    assert f"{POSITIONS}" in message


@pytest.mark.parametrize("limit", [POSITIONS - 2, 10**30], ids=["said", "not said"])
def test_roberta_counts_positions_from_its_padding_index(limit: int) -> None:
    model, tokenizer = tiny_model("roberta")
    tokenizer.model_max_length = limit  # 10**30: a tokenizer that doesn't say
    encoder = load_encoder(model, tokenizer)
    fits = POSITIONS - 2  # positions 0 and 1 are never used
    longest = " cat" * (fits - 3)
    attribute(encoder, [f"{longest} [MASK]"], ["kitten"], "riemann_left", 1)
    assert f"{fits + 1} tokens" in refusal(encoder, f" cat{longest} [MASK]", "kitten")


def test_no_prompts_and_lists_of_different_lengths_are_refused(bert: Encoder) -> None:
    with pytest.raises(InputError, match="no prompts"):
        attribute(bert, [], [])
    with pytest.raises(InputError, match="2 prompts but 1 answers"):
        attribute(bert, TEXTS[:2], ANSWERS[:1])
