"""Answers of one and of several tokens, as real tokenizers of each kind write them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from data.trained_tokenizers import KINDS, trained_tokenizer
from kn_lightning.data.encoding import encode_group, encode_prompt
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import EncodedPrompt, Prompt, PromptGroup, Skipped

FRAMES = [
    "[MASK] will grow up to be a cat.",
    "the young of a cat is a [MASK] here.",
    "a [MASK], they say",
    "it is a [MASK].",
    "[MASK]",
    "“[MASK]” said he",
    "([MASK])",
    "the [MASK]'s cat",
    "a cat / [MASK] - cat",
    "they say  a  [MASK]  here ",
    "a [MASK]\nhere",
    "日本の首都は[MASK]です。",
    "中国的首都是[MASK]。",
    "עיר גדולה [MASK] היא",
    "عاصمة مصر هي [MASK].",
    "🙂[MASK]🙂",
    "un[MASK] here",
    "a [MASK]s.",
]
SPACED = FRAMES[:5]
"""Nothing but spaces and punctuation beside the mask: every known answer fits there."""
WORDS = ["kitten", "Paris", "paris", "café", "1984", "القاهرة"]
"""Single tokens of every kind here, the accents and capitals as it keeps them."""
ANSWERS = [
    *WORDS,
    *("東京", "日本", "北京", "서울", "Москва", "ירושלים", "a", "cat", "kittens", "unkitten"),
    *("New York", "São Paulo", "sao paulo", "Zürich", "İstanbul", "i̇stanbul", "ß", "ﬁ", "Œ"),
    *("don't", "Côte d'Ivoire", "rock'n'roll", "C++", "AC/DC", "AT&T", "well-known", "re:do"),
    *("7 up", "20 %", "3.14", "$5", "#1", "a_b", "x+y=z", "-", "kitten, puppy or cat"),
    *("🙂", "👩\u200d🚀", "🇫🇷", "❤️", "kitten 🙂"),
]
UNKNOWN = ["☃", "kitten ☃", "ქართული"]
"""Of characters that the tokenizers have never seen: known to byte-level ones alone."""

Tokenizer = Any


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Encoder]:
    """``stub(kind)``: as much of an encoder as encoding needs, around a trained tokenizer."""
    made: dict[str, Any] = {}

    def get(kind: str) -> Encoder:
        if kind not in made:
            tokenizer = trained_tokenizer(kind, tmp_path_factory.mktemp("tokenizer"))
            made[kind] = SimpleNamespace(tokenizer=tokenizer, max_tokens=200)
        return cast("Encoder", made[kind])

    return get


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of tokenizer."""
    return str(request.param)


def several(encoder: Encoder, text: str, answer: str) -> EncodedPrompt | Skipped:
    """The prompt with an answer of any number of tokens."""
    return encode_prompt(encoder, Prompt(text), answer, "id", several=True)


def every(encoder: Encoder) -> Iterator[tuple[str, str, EncodedPrompt]]:
    """All frames with all answers that can be asked about there."""
    for text in FRAMES:
        for answer in ANSWERS:
            result = several(encoder, text, answer)
            if isinstance(result, EncodedPrompt):
                yield text, answer, result


def tokens(encoder: Encoder, ids: tuple[int, ...]) -> list[str]:
    """Tokens as the vocabulary has them."""
    return cast("list[str]", encoder.tokenizer.convert_ids_to_tokens(list(ids)))


def by_characters(tokenizer: Tokenizer, text: str, answer: str) -> list[int] | None:
    """Places of the answer's tokens by the characters they come from; None: some come from more."""
    filled, start = text.replace("[MASK]", answer), text.index("[MASK]")
    stop = start + len(answer)
    encoding = tokenizer(filled, return_offsets_mapping=True)
    names = tokenizer.convert_ids_to_tokens(encoding.input_ids)
    places = []
    for place, (first, last) in enumerate(encoding.offset_mapping):
        first += len(filled[first:last]) - len(filled[first:last].lstrip())
        if first < last and last > start and first < stop:
            if first < start or last > stop:
                return None
            places.append(place)
    # Spaces that are tokens of their own, inside the answer and in front of it, are the answer's.
    places = list(range(places[0], places[-1] + 1)) if places else []
    while places and names[places[0] - 1] in ("Ġ", "▁"):
        places.insert(0, places[0] - 1)
    # WordPiece writes what goes on within a word in another way than what stands alone.
    if places and names[places[-1] + 1].startswith("##"):
        return None
    return places


def test_masks_stand_where_the_answers_characters_are(
    stub: Callable[[str], Encoder], kind: str
) -> None:
    encoder = stub(kind)
    n_encoded = n_merged = n_unknown = 0
    for text in FRAMES:
        for answer in [*ANSWERS, *UNKNOWN]:
            expected = by_characters(encoder.tokenizer, text, answer)
            result = several(encoder, text, answer)
            if expected is None:
                n_merged += 1
                assert isinstance(result, Skipped), (text, answer)
                assert result.reason == "the answer merges with the words around it"
                continue
            filled = encoder.tokenizer(text.replace("[MASK]", answer)).input_ids
            if encoder.tokenizer.unk_token_id in [filled[place] for place in expected]:
                n_unknown += 1
                assert isinstance(result, Skipped), (text, answer)
                assert result.reason == "the answer is not in the vocabulary"
                continue
            n_encoded += 1
            assert isinstance(result, EncodedPrompt), (text, answer, result)
            assert list(result.mask_positions) == expected, (text, answer)
    assert n_encoded > len(ANSWERS) * len(FRAMES) / 2
    assert n_merged
    assert (n_unknown == 0) == kind.startswith("byte level")


def test_ids_are_the_filled_in_sentence_with_masks_for_the_answer(
    stub: Callable[[str], Encoder], kind: str
) -> None:
    encoder = stub(kind)
    for text, answer, prompt in every(encoder):
        mask = encoder.tokenizer.mask_token_id
        masks = [place for place, token in enumerate(prompt.input_ids) if token == mask]
        assert tuple(masks) == prompt.mask_positions
        assert len(prompt.answers) == len(masks) > 0
        filled = list(prompt.input_ids)
        for place, token in zip(masks, prompt.answers, strict=True):
            filled[place] = token
        assert filled == encoder.tokenizer(text.replace("[MASK]", answer)).input_ids


def comparable(text: str, uncased: bool) -> str:
    """A text without what a tokenizer of that kind takes out of it, and without spaces."""
    text = unicodedata.normalize("NFKD" if uncased else "NFC", text)
    dropped = ("Mn", "Cf", "Zs") if uncased else ("Cf", "Zs")
    kept = "".join(c for c in text if unicodedata.category(c) not in dropped)
    return kept.casefold() if uncased else kept


def test_answers_read_as_the_word(stub: Callable[[str], Encoder], kind: str) -> None:
    encoder = stub(kind)
    uncased = kind.endswith("uncased")
    for text, answer, prompt in every(encoder):
        if kind.startswith("wordpiece") and tokens(encoder, prompt.answers)[0].startswith("##"):
            continue  # goes on within a word: read alone it keeps its mark
        said = Encoder.text(encoder, prompt.answers)
        assert comparable(said, uncased) == comparable(answer, uncased), (text, answer)
        assert said == said.strip()
        assert not set("Ġ▁") & set(said)
        if kind.startswith("byte level"):
            assert said == answer


def test_only_answers_of_one_token_are_asked_about_unless_told(
    stub: Callable[[str], Encoder], kind: str
) -> None:
    encoder = stub(kind)
    counts = set()
    for text, answer, prompt in every(encoder):
        single = encode_prompt(encoder, Prompt(text), answer, "id")
        counts.add(min(len(prompt.answers), 2))
        if len(prompt.answers) == 1:
            assert single == prompt
        else:
            reason = f"the answer is {len(prompt.answers)} tokens, not one"
            assert single == Skipped(answer, text, reason)
    assert counts == {1, 2}


def test_every_known_answer_fits_between_spaces_and_punctuation(
    stub: Callable[[str], Encoder], kind: str
) -> None:
    encoder = stub(kind)
    for text in SPACED:
        for answer in WORDS:
            prompt = several(encoder, text, answer)
            assert isinstance(prompt, EncodedPrompt), (text, answer, prompt)
            assert len(prompt.answers) == 1, (text, answer)


@pytest.mark.parametrize(
    ("beginning", "kinds"),
    [("Ġ", ["byte level", "byte level, space before the mask"]), ("", list(KINDS)[:2])],
)
@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("[MASK] is small.", False),
        ("a [MASK] is small.", True),
        ("it is a [MASK].", True),
        ("a ([MASK]) is small.", False),
    ],
)
def test_an_answers_form_depends_on_the_space_before_it(
    stub: Callable[[str], Encoder], beginning: str, kinds: list[str], text: str, spaced: bool
) -> None:
    for kind in kinds:
        prompt = several(stub(kind), text, "kitten")
        assert isinstance(prompt, EncodedPrompt)
        assert tokens(stub(kind), prompt.answers) == [beginning * spaced + "kitten"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("unigram")])
def test_a_sentencepiece_answer_has_its_mark_and_what_follows_the_mask_has_none(
    stub: Callable[[str], Encoder], kind: str
) -> None:
    encoder = stub(kind)
    # Given the text with the mask, such tokenizers make "▁" and "." of the full stop behind it.
    masked = encoder.tokenizer(f"it is a {encoder.tokenizer.mask_token}.").input_ids
    assert tokens(encoder, masked)[-4:-1] == [encoder.tokenizer.mask_token, "▁", "."]
    for text in ("it is a [MASK].", "[MASK]."):
        prompt = encode_prompt(encoder, Prompt(text), "kitten", "id")
        assert isinstance(prompt, EncodedPrompt)
        assert tokens(encoder, prompt.answers) == ["▁kitten"]
        assert tokens(encoder, prompt.input_ids)[-3:-1] == [encoder.tokenizer.mask_token, "."]


def test_special_tokens_are_no_part_of_an_answer(stub: Callable[[str], Encoder], kind: str) -> None:
    encoder = stub(kind)
    for special in encoder.tokenizer.all_special_tokens:
        for answer in (special, f"kitten {special}", f"{special} kitten"):
            result = several(encoder, "a [MASK] is small.", answer)
            assert isinstance(result, Skipped), answer
            assert result.reason in (
                "the answer is not in the vocabulary",
                "the answer merges with the words around it",
            )


@pytest.mark.parametrize("answer", ["", " ", "\u200b"])
def test_an_answer_without_tokens_is_refused(bert: Encoder, answer: str) -> None:
    result = several(bert, "a [MASK] is small.", answer)
    assert isinstance(result, Skipped)
    assert result.reason == "the answer is 0 tokens, not one"


@pytest.mark.parametrize(("answer", "n_masks"), [("kitten", 1), ("played", 2), ("young cat", 2)])
def test_length_counts_every_mask(bert: Encoder, answer: str, n_masks: int) -> None:
    def text(n_tokens: int) -> str:
        return " ".join([*["cat"] * (n_tokens - 2 - n_masks), "[MASK]"])

    fitting = several(bert, text(40), answer)
    assert isinstance(fitting, EncodedPrompt)
    assert len(fitting.input_ids) == bert.max_tokens == 40
    assert fitting.mask_positions == tuple(range(39 - n_masks, 39))
    longer = several(bert, text(41), answer)
    assert isinstance(longer, Skipped)
    assert longer.reason == "the prompt has 41 tokens, the encoder takes 40"


def test_a_group_keeps_its_prompts_whatever_their_answers_number_of_tokens(
    stub: Callable[[str], Encoder],
) -> None:
    encoder = stub("byte level")
    texts = ("[MASK] is a city.", "a city is [MASK].", "the city of [MASK] is big.")
    prompts = tuple(map(Prompt, texts))
    group = PromptGroup("New York", prompts, negated=(Prompt("[MASK] is no cat."),))
    kept, skipped = encode_group(encoder, group, several=True)
    assert kept is not None
    assert [len(prompt.answers) for prompt in (*kept.prompts, *kept.negated)] == [4, 5, 5, 4]
    assert skipped == []
    kept, skipped = encode_group(encoder, group)
    assert kept is None
    assert [(skip.prompt, skip.reason) for skip in skipped] == [
        (text, f"the answer is {count} tokens, not one")
        for text, count in zip(texts, (4, 5, 5), strict=True)
    ]
