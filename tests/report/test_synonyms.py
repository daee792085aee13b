"""Planted neurons of synonyms → what they share, by hand, by Python's sets and as planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from kn_lightning.report.synonyms import Synonyms, synonyms
from kn_lightning.report.tables import run_tables

from .runs import Rows, WriteRun, near, prompt_row
from .test_consistency import Sets, coarse_rows, jaccard, random_sets, refined_rows


@pytest.fixture
def compare(make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]) -> Any:
    """``compare(prompts, refined, coarse, pairs)`` of a run folder with these."""

    def compared(
        prompts: Rows, refined: Sets, coarse: Sets, pairs: list[tuple[str, str]]
    ) -> Synonyms:
        tables["prompts"] = prompts
        tables["neurons"] = refined_rows(refined)
        tables["coarse"] = coarse_rows(coarse)
        return synonyms(run_tables(make_run(tables, environment)), pairs)

    return compared


def planted(shared: bool, n: int = 30, seed: int = 0) -> tuple[Rows, Sets, Sets]:
    """Words w0, v0, w1, v1 …, 8 of 200 neurons each; w and v share 4 of them, or none."""
    rng = np.random.default_rng(seed)
    prompts: Rows = []
    refined: Sets = {}
    coarse: Sets = {}
    for number in range(n):
        places = [(int(place) // 50, int(place) % 50) for place in rng.permutation(200)[:16]]
        second = places[4:12] if shared else places[8:]
        for word, own in ((f"w{number}", set(places[:8])), (f"v{number}", set(second))):
            refined[word] = own
            for i in range(2):
                prompts.append(prompt_row(f"{word}/{i}", word, pos="noun"))
                coarse[f"{word}/{i}"] = own
    return prompts, refined, coarse


def test_planted_synonyms_that_share_neurons_are_found(compare: Any) -> None:
    pairs = [(f"w{i}", f"v{i}") for i in range(30)]
    found = compare(*planted(shared=True), pairs)
    for side in (found.knowledge, found.coarse):
        assert side.n == 30
        assert side.mean == pytest.approx(4 / 12)
        assert side.mean_permuted < 0.05
        assert side.p == 1e-4
    # Words of the same table, paired as they were not planted.
    other = compare(*planted(shared=True), [(f"w{i}", f"v{(7 * i + 3) % 30}") for i in range(30)])
    assert other.knowledge.p > 0.05
    assert other.coarse.p > 0.05


def test_planted_synonyms_that_share_nothing_are_not_found(compare: Any) -> None:
    found = compare(*planted(shared=False), [(f"w{i}", f"v{i}") for i in range(30)])
    assert found.knowledge.mean == 0
    assert found.knowledge.times == 0
    assert found.knowledge.p == 1.0
    assert found.coarse.p == 1.0


def test_every_column_is_that_of_pythons_sets(compare: Any) -> None:
    words = [f"c{i}" for i in range(9)]
    prompts = [
        prompt_row(f"{word}/{i}", word, pos="verb" if word > "c5" else None)
        for word in words
        for i in range(int(word[1]) % 3 + 1)
    ]
    prompts += [prompt_row("c0/same", "c0", prompt="[MASK] is one."), prompt_row("bare/0", "bare")]
    prompts += [prompt_row("c1/same", "c1", prompt="[MASK] is one.")]
    refined = random_sets(words) | {"c3": set(), "c5": {(0, 1)}}
    coarse = random_sets([row["prompt_id"] for row in prompts], seed=1)
    pairs = [("c0", "c1"), ("c2", "c1"), ("c4", "c0"), ("c6", "c8"), ("c7", "c6"), ("c3", "c5")]
    found = compare(prompts, refined, coarse, pairs)
    rows = {(row["a"], row["b"]): row for row in found.pairs.to_dict("records")}
    assert [*rows] != pairs
    assert {*rows} == {*pairs}
    by_word = {
        word: [row["prompt_id"] for row in prompts if row["concept"] == word] for word in words
    }

    def mean(both: list[tuple[Any, Any]]) -> float:
        return float(np.mean([jaccard(p, q) for p, q in both if p | q]))

    def alike(a: str, b: str) -> float:
        return mean([(coarse[p], coarse[q]) for p in by_word[a] for q in by_word[b]])

    for a, b in pairs:
        row = rows[a, b]
        assert row["jaccard"] == near(jaccard(refined[a], refined[b]))
        assert row["shared"] == len(refined[a] & refined[b])
        assert (row["n_a"], row["n_b"]) == (len(refined[a]), len(refined[b]))
        assert row["coarse"] == near(alike(a, b))
        assert row["same_prompts"] == ((a, b) == ("c0", "c1"))
        assert row["pos_b"] == "verb" if b > "c5" else pd.isna(row["pos_b"])
        # Partners of the same part of speech; a word is none of its own.
        others = [d for _, d in pairs if (d > "c5") == (b > "c5") and d != a]
        assert row["permuted"] == near(mean([(refined[a], refined[d]) for d in others]))
        assert row["coarse_permuted"] == near(float(np.mean([alike(a, d) for d in others])))


def test_parts_of_speech_do_not_pass_for_synonymy(compare: Any) -> None:
    """Nouns share neurons with all nouns, and verbs with all verbs."""
    prompts = [
        prompt_row(f"{p}{i}/0", f"{p}{i}", pos=p) for p in ("noun", "verb") for i in range(20)
    ]
    refined = {
        row["concept"]: {(0, int(row["pos"] == "verb")), (1, i)} for i, row in enumerate(prompts)
    }
    pairs = [(f"{p}{2 * i}", f"{p}{2 * i + 1}") for p in ("noun", "verb") for i in range(10)]
    found = compare(prompts, refined, {}, pairs)
    assert found.knowledge.mean == pytest.approx(1 / 3)
    assert found.knowledge.mean_permuted == pytest.approx(1 / 3)
    assert found.knowledge.p == 1.0
    assert found.coarse.n == 0  # no prompt has a coarse neuron


def test_blocks_of_prompts_change_nothing(compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(f"w{i}", f"v{i}") for i in range(30)]
    before = compare(*planted(shared=True), pairs).pairs
    monkeypatch.setattr("kn_lightning.report.synonyms._BLOCK", 7)
    assert compare(*planted(shared=True), pairs).pairs.equals(before)
