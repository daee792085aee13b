"""Prompts and answers as token ids; answers that are no single token are left out with a reason."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from encoders.tiny import WORDS
from transformers import BertTokenizer

from kn_lightning.data.encoding import encode_group, encode_prompt
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import EncodedPrompt, Prompt, PromptGroup, Skipped


def encoded(encoder: Encoder, text: str, answer: str) -> EncodedPrompt:
    """The prompt as encoded; it has to be."""
    result = encode_prompt(encoder, Prompt(text, "IsA"), answer, "id")
    assert isinstance(result, EncodedPrompt), result
    return result


def reason(encoder: Encoder, text: str, answer: str) -> str:
    """Why the prompt is left out; it has to be."""
    result = encode_prompt(encoder, Prompt(text), answer, "id")
    assert isinstance(result, Skipped), result
    assert (result.concept, result.prompt) == (answer, text)
    return result.reason


def tokens(encoder: Encoder, prompt: EncodedPrompt) -> list[str]:
    """The prompt's tokens and, last, its answer's."""
    ids = [*prompt.input_ids, prompt.answers[0]]
    return cast("list[str]", encoder.tokenizer.convert_ids_to_tokens(ids))


def test_ids_mask_position_and_answer_are_the_vocabularys(bert: Encoder) -> None:
    prompt = encoded(bert, "the young of a cat is a [MASK].", "kitten")
    words = ["[CLS]", "the", "young", "of", "a", "cat", "is", "a", "[MASK]", ".", "[SEP]"]
    assert tokens(bert, prompt) == [*words, "kitten"]
    assert prompt.mask_positions[0] == words.index("[MASK]")
    assert (prompt.prompt_id, prompt.concept, prompt.relation) == ("id", "kitten", "IsA")
    assert prompt.text == "the young of a cat is a [MASK]."


def test_answer_has_the_form_that_the_tokenizer_gives_it_at_its_place(roberta: Encoder) -> None:
    inside = encoded(roberta, "the capital of france is [MASK].", "paris")
    start = encoded(roberta, "[MASK] is the capital of france.", "paris")
    assert tokens(roberta, inside)[-1] == "Ġparis"
    assert tokens(roberta, start)[-1] == "paris"
    assert tokens(roberta, start)[:2] == ["<s>", "<mask>"]


def test_answer_is_uncased_where_the_tokenizer_is(bert: Encoder) -> None:
    prompt = encoded(bert, "the capital of France is [MASK].", "Paris")
    assert tokens(bert, prompt)[-1] == "paris"


def test_wrong_case_is_unknown_where_the_tokenizer_keeps_case(
    tiny_encoders: Callable[..., Encoder],
) -> None:
    import torch

    cased = tiny_encoders("modernbert", torch.float32)
    assert encoded(cased, "the capital of france is [MASK].", "paris").answer != 1
    assert "not in the vocabulary" in reason(cased, "the capital of france is [MASK].", "Paris")


@pytest.mark.parametrize(
    ("answer", "count"), [("playing", 2), ("played", 2), ("young cat", 2), ("play on a farm", 4)]
)
def test_answer_of_several_tokens_is_counted(bert: Encoder, answer: str, count: int) -> None:
    assert (
        reason(bert, "they were [MASK] here.", answer) == f"the answer is {count} tokens, not one"
    )


@pytest.mark.parametrize("answer", ["zebra", "[UNK]", "[SEP]", "[MASK]", "[PAD]", "Ψ"])
def test_unknown_and_special_answers_are_not_in_the_vocabulary(bert: Encoder, answer: str) -> None:
    assert reason(bert, "a [MASK] is small.", answer) == "the answer is not in the vocabulary"


def test_answer_that_the_tokenizer_drops_is_no_token(bert: Encoder) -> None:
    assert reason(bert, "a [MASK] is small.", "\u200b") == "the answer is 0 tokens, not one"


@pytest.mark.parametrize("text", ["a [MASK]s is small.", "on[MASK] is small.", "a [MASK]ing."])
def test_mask_glued_to_a_word_is_left_out(bert: Encoder, text: str) -> None:
    assert reason(bert, text, "play") == "the answer merges with the words around it"


@pytest.mark.parametrize(
    ("text", "count"), [("a cat is small.", 0), ("a [MASK] is a [MASK].", 2), ("[mask].", 0)]
)
def test_prompt_needs_exactly_one_mask(bert: Encoder, text: str, count: int) -> None:
    assert reason(bert, text, "cat") == f"the prompt has {count} masks instead of one"


def test_tokenizers_own_mask_besides_is_left_out(roberta: Encoder) -> None:
    assert "besides" in reason(roberta, "the <mask> is a [MASK].", "paris")


@pytest.mark.parametrize("place", ["first", "last"])
def test_prompt_of_the_encoders_length_fits_and_one_more_token_does_not(
    bert: Encoder, place: str
) -> None:
    def text(n_tokens: int) -> str:
        words = ["cat"] * (n_tokens - 3)
        return " ".join(["[MASK]", *words] if place == "first" else [*words, "[MASK]"])

    assert bert.max_tokens == 40
    fitting = encoded(bert, text(40), "kitten")
    assert len(fitting.input_ids) == 40
    assert fitting.input_ids[fitting.mask_position] == bert.tokenizer.mask_token_id
    assert reason(bert, text(41), "kitten") == "the prompt has 41 tokens, the encoder takes 40"


def test_roberta_takes_no_more_tokens_than_it_has_positions(roberta: Encoder) -> None:
    # Positions are counted from the padding index: 40 of them serve 38 tokens.
    text = " ".join(["a"] * 36 + ["[MASK]"])
    assert "takes 38" in reason(roberta, text, "cat")


def test_no_answer_is_ever_unknown_or_another_word(encoder: Encoder) -> None:
    frames = ["[MASK] is small.", "a [MASK] is small.", "every cow was once a [MASK]."]
    answers = [*WORDS, *(w.title() for w in WORDS), *(w + "x" for w in WORDS), "##s", "zebra", "é"]
    n_encoded = 0
    for frame in frames:
        for answer in answers:
            result = encode_prompt(encoder, Prompt(frame), answer, "id")
            if isinstance(result, EncodedPrompt):
                n_encoded += 1
                assert result.answer not in encoder.tokenizer.all_special_ids
                assert encoder.token(result.answer).casefold() == answer.casefold()
    assert n_encoded >= len(WORDS)


def test_group_keeps_its_encodable_prompts_under_their_own_numbers(bert: Encoder) -> None:
    texts = ["[MASK] is small.", "[MASK]s are small.", "a [MASK] [MASK].", "a [MASK] was young."]
    group, skipped = encode_group(
        bert, PromptGroup("lamb", tuple(Prompt(text, "IsA") for text in texts), "noun")
    )
    assert group is not None
    assert (group.concept, group.pos) == ("lamb", "noun")
    assert [prompt.prompt_id for prompt in group.prompts] == ["lamb/0", "lamb/3"]
    assert [prompt.text for prompt in group.prompts] == [texts[0], texts[3]]
    assert [(skip.concept, skip.prompt) for skip in skipped] == [
        ("lamb", texts[1]),
        ("lamb", texts[2]),
    ]


def test_group_that_fails_for_one_reason_is_one_entry(bert: Encoder) -> None:
    texts = ("[MASK] is small.", "a [MASK] was young.")
    group, skipped = encode_group(bert, PromptGroup("zebra", tuple(map(Prompt, texts))))
    assert group is None
    assert skipped == [Skipped("zebra", None, "the answer is not in the vocabulary")]


def test_group_that_fails_for_two_reasons_is_an_entry_a_prompt(bert: Encoder) -> None:
    texts = ("[MASK] is small.", "a [MASK] and [MASK].")
    group, skipped = encode_group(bert, PromptGroup("zebra", tuple(map(Prompt, texts))))
    assert group is None
    assert [skip.prompt for skip in skipped] == list(texts)


def test_accented_answer_is_its_own_word_for_an_accent_stripping_tokenizer() -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cafe", "is", "small", "."]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    stub = cast("Any", SimpleNamespace(tokenizer=tokenizer, max_tokens=20))
    assert encoded(stub, "[MASK] is small.", "café").answer == words.index("cafe")
