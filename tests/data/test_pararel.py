"""ParaRel: patterns x facts, relation by relation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kn_lightning.data.lama import Masked
from kn_lightning.data.pararel import pararel_files, read_pararel
from kn_lightning.errors import InputError
from kn_lightning.schema import Prompt, PromptGroup, Skipped

Rows = dict[str, list[dict[str, object]]]

FACTS: Rows = {
    "P36": [
        {"sub_label": "France", "obj_label": "Paris", "uuid": "1"},
        {"sub_label": "Cuba", "obj_label": "Havana", "uuid": "2"},
    ],
    "P19": [{"sub_label": "Ada [Y]", "obj_label": "Paris"}],
}
PATTERNS: Rows = {
    "P36": [
        {"pattern": "The capital of [X] is [Y] .", "lemma": "capital", "tense": "present"},
        {"pattern": "[Y] is [X]'s capital.", "lemma": "capital", "tense": "present"},
    ],
    "P19": [{"pattern": "[X] was born in [Y]."}],
}


def pararel(root: Path, patterns: Rows = PATTERNS, facts: Rows = FACTS) -> Path:
    """ParaRel's data folder."""
    for folder, rows in (("pattern_data/graphs_json", patterns), ("trex_lms_vocab", facts)):
        (root / folder).mkdir(parents=True)
        for relation, records in rows.items():
            lines = "".join(json.dumps(record) + "\n" for record in records)
            (root / folder / f"{relation}.jsonl").write_text(lines)
    return root


def groups(path: Path, mask: Masked, min_patterns: int = 1) -> list[tuple[str, list[str]]]:
    """Concepts and texts; nothing may be left out."""
    entries = list(read_pararel(path, mask, min_patterns))
    assert all(isinstance(entry, PromptGroup) for entry in entries)
    return [(e.concept, [p.text for p in e.prompts]) for e in entries if isinstance(e, PromptGroup)]


def test_each_fact_is_said_in_all_patterns_of_its_relation(tmp_path: Path) -> None:
    path = pararel(tmp_path)
    assert groups(path, "object") == [
        ("Paris", ["Ada [Y] was born in [MASK]."]),
        ("Paris", ["The capital of France is [MASK] .", "[MASK] is France's capital."]),
        ("Havana", ["The capital of Cuba is [MASK] .", "[MASK] is Cuba's capital."]),
    ]
    assert groups(path, "subject") == [
        ("Ada [Y]", ["[MASK] was born in Paris."]),
        ("France", ["The capital of [MASK] is Paris .", "Paris is [MASK]'s capital."]),
        ("Cuba", ["The capital of [MASK] is Havana .", "Havana is [MASK]'s capital."]),
    ]
    first = next(read_pararel(path, "object", 1))
    assert isinstance(first, PromptGroup)
    assert first.prompts == (Prompt("Ada [Y] was born in [MASK].", "P19"),)


def test_repository_and_data_folder_are_the_same(tmp_path: Path) -> None:
    pararel(tmp_path / "data")
    assert groups(tmp_path, "object") == groups(tmp_path / "data", "object")
    patterns, facts = pararel_files(tmp_path)
    assert [file.name for file in patterns] == [file.name for file in facts]
    assert [file.stem for file in facts] == ["P19", "P36"]


def test_facts_of_relations_with_few_patterns_are_left_out(tmp_path: Path) -> None:
    path = pararel(tmp_path, facts={**FACTS, "P7": [{"sub_label": "a", "obj_label": "b"}]})
    entries = list(read_pararel(path, "object", 2))
    reason = "fewer than 2 patterns of its relation"
    assert [entry for entry in entries if isinstance(entry, Skipped)] == [
        Skipped("Paris", "P19: Ada [Y], Paris", reason),
        Skipped("b", "P7: a, b", reason),
    ]
    kept = [entry.concept for entry in entries if isinstance(entry, PromptGroup)]
    assert kept == ["Paris", "Havana"]


def test_patterns_without_subject_or_object_are_left_out(tmp_path: Path) -> None:
    odd = ["[X] is [Y", "a [Y].", "[X] and [X] in [Y]."]
    rows: Rows = {"P36": [*PATTERNS["P36"], *({"pattern": text} for text in odd)]}
    entries = list(read_pararel(pararel(tmp_path, rows, {"P36": FACTS["P36"]}), "object", 1))
    reason = "the pattern has not exactly one [X] and one [Y]"
    assert entries[:3] == [Skipped("", text, reason) for text in odd]
    assert [len(e.prompts) for e in entries[3:] if isinstance(e, PromptGroup)] == [2, 2]


def test_other_folders_and_lines_are_refused(tmp_path: Path) -> None:
    path = pararel(tmp_path / "whole")
    for root, what in (
        (tmp_path / "none", "pattern_data/graphs_json"),
        (path / "pattern_data", "pattern_data/graphs_json"),
    ):
        with pytest.raises(InputError, match=rf"data\.path {root}: no {what}/P\*\.jsonl"):
            pararel_files(root)
    file = path / "trex_lms_vocab" / "P36.jsonl"
    for line, what in (("{", "not JSON"), ('{"sub_label": "a"}', "'obj_label' is None")):
        file.write_text(json.dumps(FACTS["P36"][0]) + "\n" + line)
        with pytest.raises(InputError, match=rf"^{file}, line 2: {what}"):
            list(read_pararel(path, "object", 1))
    for file in (path / "trex_lms_vocab").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"no trex_lms_vocab/P\*\.jsonl"):
        pararel_files(path)


def test_capitals_are_those_that_were_rendered_before(shared: Path, tmp_path: Path) -> None:
    lines = (shared / "data" / "pararel_capitals.jsonl").read_text(encoding="utf-8").splitlines()
    rendered = [json.loads(line) for line in lines if '"P36"' in line][:50]
    assert len(rendered) == 50
    first = rendered[0]
    # Their patterns, got back from the first fact; its subject from what differs in the second.
    subject = first["prompts"][0].removeprefix("The capital of ").removesuffix(" is [MASK] .")
    patterns = [text.replace(subject, "[X]").replace("[MASK]", "[Y]") for text in first["prompts"]]
    facts = [
        {
            "sub_label": record["prompts"][0]
            .removeprefix("The capital of ")
            .removesuffix(" is [MASK] ."),
            "obj_label": record["concept"],
        }
        for record in rendered
    ]
    path = pararel(tmp_path, {"P36": [{"pattern": text} for text in patterns]}, {"P36": [*facts]})
    assert groups(path, "object", 4) == [(r["concept"], r["prompts"]) for r in rendered]
