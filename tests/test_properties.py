"""What holds for any input: readers, refinement, packs, a run folder written in any order."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from bad_input.fuzz import fuzz
from hypothesis import given, settings
from hypothesis import strategies as st

from kn_lightning.core.neurons import coarse_neurons, refined_neurons
from kn_lightning.data.csv_prompts import read_csv
from kn_lightning.data.jsonl import read_jsonl
from kn_lightning.data.lama import read_lama
from kn_lightning.data.pararel import read_pararel
from kn_lightning.data.study import planned_packs
from kn_lightning.neuron_json import read_neurons
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import (
    MASK,
    SKIPPED_TABLE,
    TABLES,
    EncodedGroup,
    EncodedPrompt,
    PromptGroup,
    Skipped,
)

quick = settings(max_examples=40, deadline=None, derandomize=True, database=None)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORD = TEXT.filter(str.strip)
WORDS = st.lists(st.sampled_from(["cat", "Cat", "a cat", MASK, "is", "of"]), max_size=4)


def test_no_fuzzed_input_of_any_reader_gives_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning's own use of it
    outcomes, broken = fuzz(300, 2, tmp_path)
    assert broken == []
    assert sum(outcomes.values()) == 300
    assert min(
        outcomes[f"{name} {end}"] for name in ("jsonl", "csv") for end in ("read", "refused")
    )


@quick
@given(
    st.lists(
        st.tuples(WORD, st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3)),
        max_size=4,
    )
)
def test_any_text_comes_back_from_jsonl(groups: list[tuple[str, list[tuple[str, str]]]]) -> None:
    groups = [
        (concept, [pair for pair in pairs if MASK not in "".join(pair)] or [("", "")])
        for concept, pairs in groups
    ]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "groups.jsonl"
        records = [
            {"concept": concept, "prompts": [MASK.join(pair) for pair in pairs]}
            for concept, pairs in groups
        ]
        lines = [json.dumps(one, ensure_ascii=False) for one in records]
        path.write_bytes("\n".join(lines).encode())
        found = list(read_jsonl(path))
    assert [(one.concept, [prompt.text for prompt in one.prompts]) for one in found] == [
        (one["concept"].strip(), one["prompts"])  # type: ignore[union-attr]
        for one in records
    ]


@quick
@given(st.lists(st.tuples(WORD, TEXT, TEXT, TEXT), max_size=4), st.sampled_from(["csv", "tsv"]))
def test_any_text_comes_back_from_csv(rows: list[tuple[str, str, str, str]], kind: str) -> None:
    rows = [
        (concept, *parts[:2], relation)
        if MASK not in "".join(parts)
        else (concept, "", "", relation)
        for concept, *parts, relation in rows
    ]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"prompts.{kind}"
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, "excel" if kind == "csv" else "excel-tab")
            table.writerow(["concept", "prompt", "relation"])
            table.writerows([concept, MASK.join((a, b)), known] for concept, a, b, known in rows)
        found = list(read_csv(path))
    assert [(one.concept, one.prompts[0].text, one.prompts[0].relation) for one in found] == [
        (concept.strip(), MASK.join((a, b)).strip(), known.strip() or None)
        for concept, a, b, known in rows
    ]


@quick
@given(
    st.lists(st.tuples(st.sampled_from(["cat", "", "of"]), WORDS), max_size=6),
    st.sampled_from(["subject", "object"]),
    st.integers(1, 3),
)
def test_every_sentence_of_lama_is_a_prompt_or_one_row_of_what_is_left_out(
    facts: list[tuple[str, list[str]]], mask: str, min_prompts: int
) -> None:
    sentences = [" ".join(words) for _, words in facts]
    records = (
        ({"sub": subject, "obj_label": "is", "masked_sentences": [sentence]}, "here")
        for (subject, _), sentence in zip(facts, sentences, strict=True)
    )
    found = list(read_lama(records, mask, 3, min_prompts))  # type: ignore[arg-type]
    groups = [one for one in found if isinstance(one, PromptGroup)]
    rows = [one for one in found if isinstance(one, Skipped) and one.prompt is not None]
    assert sum(len(group.prompts) for group in groups) + len(rows) == len(sentences)
    assert len({group.concept for group in groups}) == len(groups)
    for group in groups:
        texts = [prompt.text for prompt in group.prompts]
        assert len({*texts}) == len(texts) >= min_prompts
        assert all(text.count(MASK) == 1 and len(text.split()) <= 3 for text in texts)


@quick
@given(
    st.lists(st.tuples(TEXT, TEXT), max_size=3),
    st.lists(st.tuples(WORD, WORD), max_size=3),
    st.sampled_from(["subject", "object"]),
)
def test_every_fact_of_pararel_is_asked_by_every_pattern(
    patterns: list[tuple[str, str]], facts: list[tuple[str, str]], mask: str
) -> None:
    patterns = [(a, b.rstrip()) for a, b in patterns]
    facts = [(subject.strip(), answer.strip()) for subject, answer in facts]
    with tempfile.TemporaryDirectory() as place:
        wordings = [{"pattern": f"[X] {a} [Y]{b}"} for a, b in patterns]
        answers = [{"sub_label": subject, "obj_label": answer} for subject, answer in facts]
        for name, records in (("pattern_data/graphs_json", wordings), ("trex_lms_vocab", answers)):
            (Path(place) / name).mkdir(parents=True)
            lines = "".join(json.dumps(record) + "\n" for record in records)
            (Path(place) / name / "P1.jsonl").write_text(lines, encoding="utf-8")
        found = list(read_pararel(Path(place), mask, 1))  # type: ignore[arg-type]
    if not patterns:
        assert [type(one) for one in found] == [Skipped] * len(facts)
        return
    asked = [
        (
            subject if mask == "subject" else answer,
            [
                f"{MASK} {a} {answer}{b}" if mask == "subject" else f"{subject} {a} {MASK}{b}"
                for a, b in patterns
            ],
        )
        for subject, answer in facts
    ]
    assert [(one.concept, [prompt.text for prompt in one.prompts]) for one in found] == asked  # type: ignore[union-attr]


@quick
@given(
    st.dictionaries(
        WORD, st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9999)), max_size=3), max_size=3
    )
)
def test_any_neurons_come_back_in_order_and_once(neurons: dict[str, list[tuple[int, int]]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "neurons.json"
        path.write_text(json.dumps(neurons), encoding="utf-8")
        found = read_neurons(path)
    assert found == {concept: sorted(set(own)) for concept, own in neurons.items()}


@quick
@given(
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 0.99),
    st.floats(0.01, 1.0),
    st.booleans(),
)
def test_refined_neurons_are_those_counted_one_by_one(
    n_prompts: int, seed: int, threshold: float, share: float, inclusive: bool
) -> None:
    scores = torch.randn(n_prompts, 2, 3, generator=torch.Generator().manual_seed(seed))
    expected = {}
    for layer in range(2):
        for neuron in range(3):
            count = sum(
                float(one.max()) > 0 and float(one[layer, neuron]) > threshold * float(one.max())
                for one in scores
            )
            needed = share * n_prompts
            if count >= needed - 1e-9 if inclusive else count > needed + 1e-9:
                expected[layer, neuron] = count / n_prompts
    found = refined_neurons(scores, coarse_neurons(scores, threshold), share, inclusive)
    assert list(zip(found.layer.tolist(), found.neuron.tolist(), strict=True)) == sorted(expected)
    assert torch.allclose(found.share, torch.tensor([expected[key] for key in sorted(expected)]))


@quick
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=1), st.integers(1, 30)
)
def test_packs_hold_every_group_once_in_order_within_the_budget(
    lengths: list[list[int]], budget: int
) -> None:
    groups = [
        EncodedGroup(
            str(number),
            None,
            tuple(EncodedPrompt("", "", "", None, (1,) * n, (0,), (1,)) for n in own),
        )
        for number, own in enumerate(lengths)
    ]
    packs = planned_packs(groups, budget)
    assert [group for pack in packs for group in pack.groups] == groups
    assert [pack.number for pack in packs] == list(range(len(packs)))
    tokens = [sum(sum(lengths[int(g.concept)]) for g in pack.groups) for pack in packs]
    for pack, own in zip(packs, tokens, strict=True):
        assert own <= budget or len(pack.groups) == 1
    if sum(tokens) > 32 * budget:  # those of a large study grow smaller
        return
    for pack, own in zip(packs[1:], tokens, strict=False):  # none is cut too early
        assert own + sum(lengths[int(pack.groups[0].concept)]) > budget


def tables(number: int) -> dict[str, pa.Table]:
    """A pack's tables, of which one has rows, as many as its number."""
    empty = {name: schema.empty_table() for name, schema in TABLES.items()}
    columns = {
        "prompt_id": [f"{number}/{row}" for row in range(number)],
        "layer": [0] * number,
        "total": [1.0] * number,
        "residual": [0.0] * number,
    }
    return empty | {"completeness": pa.table(columns, schema=TABLES["completeness"])}


@settings(quick, max_examples=8)
@given(st.permutations(range(4)), st.integers(0, 4))
def test_run_of_any_order_that_is_resumed_anywhere_has_every_pack_once(
    order: list[int], cut: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        for part in (order[:cut], order[cut:]):  # the second one goes on
            folder = RunFolder(Path(place) / "run")
            folder.open({}, {}, SKIPPED_TABLE.empty_table(), {"data.sha256": "a"})
            assert folder.finished_packs().isdisjoint(part)
            for number in part:
                folder.write_part(number, tables(number), {"total": 1.0})
        assert folder.finished_packs() == set(order)
        folder.close(4)
        ids = pq.read_table(folder.path / "completeness.parquet")["prompt_id"].to_pylist()
    assert ids == [f"{number}/{row}" for number in range(4) for row in range(number)]
