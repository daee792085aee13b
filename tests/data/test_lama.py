"""LAMA's records: which sentences become whose prompts, and why the others don't."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kn_lightning.data.jsonl import json_objects
from kn_lightning.data.lama import Masked, read_lama, subject_masked
from kn_lightning.errors import InputError
from kn_lightning.schema import Prompt, PromptGroup, Skipped

Entry = PromptGroup | Skipped


def record(sentence: str, sub: Any = "cat", obj: Any = "mice", **keys: Any) -> dict[str, Any]:
    """A record of LAMA's ConceptNet."""
    base = {"sub": sub, "obj": obj, "obj_label": obj, "pred": "Desires", "uuid": "0"}
    return {**base, "masked_sentences": [sentence], **keys}


def read(
    *records: dict[str, Any],
    mask: Masked = "subject",
    max_words: int | None = 10,
    min_prompts: int = 1,
) -> tuple[list[PromptGroup], list[Skipped]]:
    """Groups and what is left out."""
    lines = [json.dumps(line).encode() for line in records]
    entries = list(read_lama(json_objects(lines, "test.jsonl"), mask, max_words, min_prompts))
    return (
        [entry for entry in entries if isinstance(entry, PromptGroup)],
        [entry for entry in entries if isinstance(entry, Skipped)],
    )


@pytest.mark.parametrize(
    ("sentence", "subject", "filling", "masked"),
    [
        ("Contemplating requires [MASK].", "contemplating", "rest", "[MASK] requires rest."),
        ("[MASK] is what a cat eats.", "cat", "cat food", "cat food is what a [MASK] eats."),
        ("a cat eats [MASK].", "cat", "cat food", "a [MASK] eats cat food."),
        ("who eats [MASK]?", "cat", "cat food", None),
        ("who eats food for a [MASK]?", "cat", "cat", None),
        ("cats eat [MASK].", "cat", "mice", None),
        ("a wildcat eats [MASK].", "cat", "mice", None),
        ("cats and a cat eat [MASK].", "cat", "mice", "cats and a [MASK] eat mice."),
        ("a cat and a cat eat [MASK].", "cat", "mice", "a [MASK] and a cat eat mice."),
        ("the cat's [MASK].", "cat", "tail", "the [MASK]'s tail."),
        ("(cat) eats [MASK]", "cat", "mice", "([MASK]) eats mice"),
        ("CAT eats [MASK].", "cat", "mice", "[MASK] eats mice."),
        ("[MASK]s eat mice.", "cats", "cat", None),  # made of object and sentence together
        ("C++ is a [MASK].", "c++", "language", "[MASK] is a language."),
        ("Use c++11 or c++ for a [MASK].", "c++", "game", "Use c++11 or [MASK] for a game."),
        ("an asp.net or a .net [MASK]", ".net", "page", "an asp.net or a [MASK] page"),
        ("aXb, a.b: [MASK]", "a.b", "dots", "aXb, [MASK]: dots"),
        ("(what is [MASK]", "(what", "that", "[MASK] is that"),
        ("a polar bear is [MASK].", "polar bear", "white", "a [MASK] is white."),
        ("été is [MASK].", "ÉTÉ", "summer", "[MASK] is summer."),
        ("étés are [MASK].", "t", "summers", None),
    ],
)
def test_the_subject_is_masked_as_a_word_and_never_in_the_object(
    sentence: str, subject: str, filling: str, masked: str | None
) -> None:
    assert subject_masked(sentence, subject, filling) == masked


def test_prompts_of_a_concept_are_its_different_sentences_in_order() -> None:
    groups, skipped = read(
        record("A cat wants [MASK]."),
        record("A dog wants [MASK].", sub="dog", obj="cats", pred="Wants"),
        record("A cat wants [MASK].", obj="milk", pred="Likes"),
        record("A CAT wants [MASK].", pred="Likes"),
    )
    assert groups == [
        PromptGroup(
            "cat",
            (Prompt("A [MASK] wants mice.", "Desires"), Prompt("A [MASK] wants milk.", "Likes")),
        ),
        PromptGroup("dog", (Prompt("A [MASK] wants cats.", "Wants"),)),
    ]
    repeated = "a prompt that the concept has already"
    assert skipped == [Skipped("cat", "A CAT wants [MASK].", repeated)]


def test_masked_objects_leave_the_sentence_as_it_is() -> None:
    groups, skipped = read(
        record("A cat wants [MASK]."), record("An owl wants [MASK].", sub="owl"), mask="object"
    )
    prompts = (Prompt("A cat wants [MASK].", "Desires"), Prompt("An owl wants [MASK].", "Desires"))
    assert groups == [PromptGroup("mice", prompts)]
    assert skipped == []


def test_every_sentence_of_a_record_counts_for_itself() -> None:
    sentences = ["A cat wants [MASK].", "[MASK] or [MASK], a cat?", "Cats want [MASK].", "No cat."]
    groups, skipped = read(
        record("", masked_sentences=[*sentences, "Our cat wants [MASK]."]), min_prompts=2
    )
    assert [p.text for p in groups[0].prompts] == ["A [MASK] wants mice.", "Our [MASK] wants mice."]
    assert [(skip.prompt, skip.reason) for skip in skipped] == [
        ("[MASK] or [MASK], a cat?", "the sentence has not exactly one [MASK]"),
        ("Cats want [MASK].", "the sentence does not contain the subject"),
        ("No cat.", "the sentence has not exactly one [MASK]"),
    ]


@pytest.mark.parametrize(
    ("words", "kept"), [(9, False), (10, True), (11, True), (None, True), (1, False)]
)
def test_words_of_the_prompt_count_not_those_of_the_sentence(words: int | None, kept: bool) -> None:
    # Ten words with the object filled in and the subject, two words, masked.
    sentence = "The polar bear up in the north often eats [MASK] ."
    groups, skipped = read(record(sentence, sub="polar bear", obj="fish"), max_words=words)
    assert bool(groups) == kept
    if not kept:
        assert skipped[0] == Skipped("polar bear", sentence, f"more than {words} words")


def test_concepts_with_too_few_different_prompts_are_left_out_with_all_of_them() -> None:
    cat = [record(f"A cat {verb} [MASK].") for verb in ("eats", "hunts", "eats")]
    dog = [record(f"A dog {verb} [MASK].", sub="dog") for verb in ("eats", "hunts", "sees")]
    groups, skipped = read(*cat, *dog, min_prompts=3)
    assert [group.concept for group in groups] == ["dog"]
    assert skipped == [
        Skipped("cat", "A cat eats [MASK].", "a prompt that the concept has already"),
        Skipped("cat", None, "fewer than 3 prompts"),
        Skipped("cat", "A [MASK] eats mice.", "fewer than 3 prompts"),
        Skipped("cat", "A [MASK] hunts mice.", "fewer than 3 prompts"),
    ]
    groups, skipped = read(*cat, min_prompts=2)
    assert [len(group.prompts) for group in groups] == [2]


def test_records_without_subject_or_object_are_left_out() -> None:
    for sub, obj, mask, reason in (
        ("", "mice", "subject", "no subject"),
        (None, "mice", "subject", "no subject"),
        ("  ", "mice", "subject", "no subject"),
        ("cat", "", "subject", "no object"),
        ("cat", None, "object", "no object"),
    ):
        groups, skipped = read(record("A cat wants [MASK].", sub, obj), mask=mask)  # type: ignore[arg-type]
        assert groups == []
        assert [skip.reason for skip in skipped] == [reason]
    groups, _ = read(record("A cat wants [MASK].", sub=None), mask="object")
    assert [group.concept for group in groups] == ["mice"]


@pytest.mark.parametrize("mask", ["subject", "object"])
def test_a_record_without_a_sentence_is_left_out_and_no_whole_concept(mask: Masked) -> None:
    empty = record("", masked_sentences=[], negated="A cat does not want [MASK].")
    for line, subject, label in (
        (empty, "cat", "mice"),
        (record("", masked_sentences=None), "cat", "mice"),
        ({**TREX, "evidences": []}, "France", "Paris"),
    ):
        concept = subject if mask == "subject" else label
        assert read(line, mask=mask) == ([], [Skipped(concept, "", "no sentence")])


def test_negated_sentences_are_masked_the_same_way_and_count_for_nothing() -> None:
    negations = ["A cat does not want [MASK].", "A cat does not want [MASK].", "Cats? [MASK]!"]
    for key, value in (("negated", negations), ("masked_negations", negations[0])):
        groups, skipped = read(record("A cat wants [MASK].", **{key: value}))
        negated = (Prompt("A [MASK] does not want mice.", "Desires"),)
        assert groups == [
            PromptGroup("cat", (Prompt("A [MASK] wants mice.", "Desires"),), negated=negated)
        ]
        assert skipped == []
        groups, _ = read(record("A cat wants [MASK].", **{key: value}), min_prompts=2)
        assert groups == []


TREX = {
    "sub_label": "France",
    "obj_label": "Paris",
    "predicate_id": "P36",
    "evidences": [
        {
            "sub_surface": "France",
            "obj_surface": "Paris",
            "masked_sentence": "[MASK] is in France.",
        },
        {"sub_surface": "it", "obj_surface": "Paris", "masked_sentence": "Its capital is [MASK]."},
        {"obj_surface": "Parisian", "masked_sentence": "The [MASK] mayor governs in France."},
    ],
}


def test_trex_sentences_are_filled_with_the_object_as_they_have_it() -> None:
    groups, skipped = read(TREX)
    texts = ("Paris is in [MASK].", "The Parisian mayor governs in [MASK].")
    assert groups == [PromptGroup("France", tuple(Prompt(text, "P36") for text in texts))]
    reason = "the sentence does not contain the subject"
    assert skipped == [Skipped("France", "Its capital is [MASK].", reason)]


def test_trex_sentences_with_another_word_for_the_object_do_not_ask_for_it() -> None:
    groups, skipped = read(TREX, mask="object")
    texts = ("[MASK] is in France.", "Its capital is [MASK].")
    assert groups == [PromptGroup("Paris", tuple(Prompt(text, "P36") for text in texts))]
    assert [skip.reason for skip in skipped] == ["the sentence has another word for the object"]


@pytest.mark.parametrize(
    ("judgments", "kept"),
    [("yes no yes", True), ("no yes", True), ("no yes no", False), ("skip", False), ("", True)],
)
def test_google_re_facts_that_most_raters_deny_are_left_out(judgments: str, kept: bool) -> None:
    google = {
        "pred": "/people/person/place_of_birth",
        "sub": "/m/047fprg",
        "obj": "/m/04hqz",
        "sub_label": "Ada Example",
        "obj_label": "Lebanon",
        "evidences": [{"url": "http://example.org", "snippet": "Ada Example was born in Lebanon."}],
        "judgments": [{"rater": "1", "judgment": word} for word in judgments.split()],
        "masked_sentences": ["Ada Example was born in [MASK] ."],
    }
    groups, skipped = read(google)
    if kept:
        (group,) = groups
        assert (group.concept, group.prompts[0].text) == (
            "Ada Example",
            "[MASK] was born in Lebanon .",
        )
    else:
        assert [skip.reason for skip in skipped] == [
            "most raters say that the text does not state the fact"
        ]


def test_squad_asks_for_objects() -> None:
    squad = {"id": "5_0", "sub_label": "Squad", "obj_label": "gold"}
    groups, _ = read({**squad, "masked_sentences": ["The color was [MASK]."]}, mask="object")
    assert groups == [PromptGroup("gold", (Prompt("The color was [MASK]."),))]


def test_any_white_space_is_a_plain_space() -> None:
    groups, _ = read(record("A\u00a0polar\u00a0 bear\teats [MASK] .\n", sub="polar bear"))
    assert [prompt.text for prompt in groups[0].prompts] == ["A [MASK] eats mice ."]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not JSON"),
        ("[]", "list instead of a JSON object"),
        (
            '{"sub": "cat", "obj": "mice"}',
            "neither 'masked_sentences' nor 'evidences'; give a file in LAMA's format",
        ),
        ('{"evidences": null}', "'evidences' is None; give a file in LAMA's format"),
        ('{"evidences": ["a"]}', r"'evidences' is \['a'\]"),
        ('{"evidences": [{"masked_sentence": 1}]}', "'masked_sentence' is 1; give a string"),
        ('{"masked_sentences": 3}', "'masked_sentences' is 3; give a list"),
        ('{"masked_sentences": [3]}', "'masked_sentences' is 3; give a string"),
        ('{"masked_sentences": [], "sub": ["cat"]}', r"'sub' is \['cat'\]; give a string"),
        ('{"masked_sentences": ["\\ud83d"]}', "'masked_sentences' is .*; give a string"),
        ('{"masked_sentences": [], "judgments": ["no"]}', r"'judgments' is \['no'\]"),
        ('{"masked_sentences": [], "judgments": 1}', "'judgments' is 1"),
    ],
)
def test_lines_of_another_form_are_refused_with_file_and_number(line: str, what: str) -> None:
    good = json.dumps(record("A cat wants [MASK]."))
    records = json_objects([good.encode(), b"\n", line.encode()], "test.jsonl")
    with pytest.raises(InputError, match=rf"^test\.jsonl, line 3: .*{what}"):
        list(read_lama(records, "subject", 10, 4))


def lama_file(path: Path, mask: Masked, min_prompts: int) -> Iterator[Entry]:
    """The entries of a whole file."""
    with path.open("rb") as lines:
        yield from read_lama(json_objects(lines, path), mask, 10, min_prompts)


def test_original_records_all_become_prompts(shared: Path) -> None:
    path = shared / "data" / "lama_conceptnet_sample.jsonl"
    entries = list(lama_file(path, "subject", 1))
    groups = {entry.concept: entry for entry in entries if isinstance(entry, PromptGroup)}
    assert len(entries) == len(groups) == 12
    assert [p.text for p in groups["contemplating"].prompts] == ["[MASK] requires concentration."]
    assert [p.text for p in groups["birds"].prompts] == ["[MASK] can fly."]
    flying = next(e for e in lama_file(path, "object", 4) if isinstance(e, PromptGroup))
    assert (flying.concept, len(flying.prompts)) == ("fly", 4)


def test_every_sentence_of_a_whole_file_is_used_or_left_out_for_a_reason(shared: Path) -> None:
    path = shared / "data" / "lama_conceptnet_rendered" / "test.jsonl"
    entries = list(lama_file(path, "subject", 4))
    groups = [entry for entry in entries if isinstance(entry, PromptGroup)]
    skipped = [entry for entry in entries if isinstance(entry, Skipped)]
    n_prompts = sum(len(group.prompts) for group in groups)
    n_left_out = sum(skip.prompt is not None for skip in skipped)
    assert n_prompts + n_left_out == 15_587  # one sentence a line
    # What the authors' released code (its data.py) makes of this file too.
    assert (len(groups), n_prompts) == (975, 10_285)
    assert Counter(skip.reason for skip in skipped) == {"fewer than 4 prompts": 5_302 + 3_774}
    for group in groups:
        texts = [prompt.text for prompt in group.prompts]
        assert len(set(texts)) == len(texts) >= 4
        assert all(text.count("[MASK]") == 1 and len(text.split()) <= 10 for text in texts)
