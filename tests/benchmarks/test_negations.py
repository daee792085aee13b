"""A rule denies prompts; each prompt that stays has its negation, as a source reads them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kn_lightning.data.jsonl import read_jsonl
from kn_lightning.data.study import merged_groups
from kn_lightning.schema import Prompt, PromptGroup

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.fixture
def negations(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import negations

    return negations


@pytest.mark.parametrize(
    ("said", "denied"),
    [
        ("A [MASK] is a young cat.", "A [MASK] is not a young cat."),
        ("A [MASK] can purr.", "A [MASK] can not purr."),
        ("A [MASK] has paws.", "A [MASK] does not have paws."),
        (
            "You are likely to find a [MASK] in a can.",
            "You are not likely to find a [MASK] in a can.",
        ),
        ("An activity a [MASK] can do is sleep.", "An activity a [MASK] can do is not sleep."),
        ("A [MASK] is what it is.", "A [MASK] is not what it is."),
        ("This [MASK] hastens to candy.", None),
        ("A [MASK] is not a dog.", None),
        ("A [MASK] isn't what a dog is.", None),
        ("Nobody can run like a [MASK].", None),
        ("A [MASK] wants milk.", None),
    ],
)
def test_a_sentence_is_denied_once_at_the_first_of_its_expressions(
    negations: Any, said: str, denied: str | None
) -> None:
    assert negations.negation(said) == denied


def test_a_source_reads_what_is_written_every_prompt_with_its_negation(
    negations: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [Prompt(f"A [MASK] is {word}.", "IsA") for word in ("soft", "small", "young")]
    mixed = [said[0], Prompt("A [MASK] has paws.", "HasA"), *said[1:], Prompt("[MASK] sleeps.")]
    groups = [PromptGroup("kitten", tuple(mixed), "noun"), PromptGroup("stone", tuple(said))]
    kept = negations.negated_groups(groups)
    assert [group.concept for group in kept] == ["kitten"]  # of the other three are too few
    source, output = tmp_path / "groups.jsonl", tmp_path / "negated.jsonl"
    negations.write_groups(source, groups)
    monkeypatch.setattr(sys, "argv", ["negations.py", str(source), str(output)])
    negations.main()
    (read,) = merged_groups(read_jsonl(output))
    assert read.pos == "noun"
    assert {*read.prompts} == {*mixed[:-1]}
    assert [negations.negation(prompt.text) for prompt in read.prompts] == [
        prompt.text for prompt in read.negated
    ]


def test_subjects_of_a_file_in_lamas_form_are_masked(
    negations: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = tmp_path / "test.jsonl", tmp_path / "negated.jsonl"
    records = [
        {
            "sub": "kitten",
            "obj_label": word,
            "pred": "IsA",
            "masked_sentences": ["A kitten is [MASK]."],
        }
        for word in ("soft", "small", "young", "alive")
    ]
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    monkeypatch.setattr(sys, "argv", ["negations.py", str(source), str(output)])
    negations.main()
    (group,) = read_jsonl(output)
    assert group.concept == "kitten"
    assert group.negated[0] == Prompt("A [MASK] is not soft.", "IsA")
    assert len(group.negated) == len(group.prompts) == 4
