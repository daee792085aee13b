"""Planted coarse and refined sets → consistency and overlap, by hand and by Python's sets."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from kn_lightning.report import consistency
from kn_lightning.report.tables import run_tables

from .runs import Rows, WriteRun, near, numbers_of, prompt_row

Sets = dict[str, set[tuple[int, int]]]


def jaccard(a: set[tuple[int, int]], b: set[tuple[int, int]]) -> float:
    """By definition."""
    return len(a & b) / len(a | b)


def coarse_rows(sets: Sets) -> Rows:
    """Rows of ``coarse``, by prompt."""
    return [
        {"prompt_id": prompt_id, "layer": layer, "neuron": neuron, "score": 0.5}
        for prompt_id, neurons in sets.items()
        for layer, neuron in sorted(neurons)
    ]


def refined_rows(sets: Sets) -> Rows:
    """Rows of ``neurons``, by concept."""
    return [
        {"concept": concept, "layer": layer, "neuron": neuron, "share": 1.0, "score": 0.5}
        for concept, neurons in sets.items()
        for layer, neuron in sorted(neurons)
    ]


def random_sets(names: list[str], seed: int = 0) -> Sets:
    """From 0 to 9 of 24 neurons for every name."""
    rng = np.random.default_rng(seed)
    return {
        name: {
            (int(place) // 8, int(place) % 8) for place in rng.permutation(24)[: rng.integers(10)]
        }
        for name in names
    }


def test_agreement_of_a_concepts_prompts_by_hand(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    tables["prompts"] = [prompt_row(f"cat/{i}", "cat") for i in range(3)]
    tables["prompts"] += [prompt_row(f"dog/{i}", "dog") for i in range(2)]
    tables["prompts"] += [prompt_row(f"owl/{i}", "owl") for i in range(2)]
    tables["prompts"] += [prompt_row("ant/0", "ant")]
    tables["coarse"] = coarse_rows(
        {
            "cat/0": {(0, 1), (0, 2), (1, 1)},
            "cat/1": {(0, 1), (1, 2)},  # shares one of four with cat/0, none with cat/2
            "cat/2": set(),  # against an empty set nothing is shared
            "owl/0": {(2, 2), (0, 1)},
            "owl/1": {(2, 2), (0, 1)},
            # Both sets of dog are empty: undefined.
            "ant/0": {(0, 1)},
        }
    )
    run_dir = make_run(tables, environment)
    values = consistency.by_concept(run_tables(run_dir))
    assert values.to_dict() == {"cat": near(0.25 / 3), "owl": 1.0}
    numbers = numbers_of(run_dir)["consistency"]
    mean = (0.25 / 3 + 1) / 2
    assert (numbers["n"], numbers["n_undefined"], numbers["n_single"]) == (2, 1, 1)
    assert (numbers["n_pairs"], numbers["n_empty_pairs"]) == (5, 1)
    assert (numbers["mean"], numbers["median"]) == (near(mean), near(mean))
    assert numbers["p25"] == near(0.25 / 3 + (1 - 0.25 / 3) / 4)
    assert numbers["mean_ci"] is None  # of two


def test_agreement_equals_that_of_pythons_sets(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    names = [f"c{i // 7}/{i % 7}" for i in range(7 * 12)]
    sets = random_sets(names)
    prompts = [prompt_row(name, name.split("/")[0]) for name in names]
    # Neither the order of prompts nor that of coarse neurons says what belongs together.
    shuffle = np.random.default_rng(1).permutation(len(names))
    tables["prompts"] = [prompts[place] for place in shuffle]
    tables["coarse"] = coarse_rows(sets)
    run_dir = make_run(tables, environment)
    expected: dict[str, list[float]] = {}
    other = []
    for a, b in combinations(names, 2):
        if not sets[a] | sets[b]:
            continue
        concept = a.split("/")[0]
        same = concept == b.split("/")[0]
        (expected.setdefault(concept, []) if same else other).append(jaccard(sets[a], sets[b]))
    values = consistency.by_concept(run_tables(run_dir))
    assert values.to_dict() == pytest.approx({k: np.mean(v) for k, v in expected.items()})
    # 20,000 pairs are drawn of those that are all counted here.
    drawn = numbers_of(run_dir)["consistency"]["random_expectation"]
    assert drawn == pytest.approx(np.mean(other), abs=5 * np.std(other) / np.sqrt(18_000))


def test_chunks_of_pairs_change_nothing(
    make_run: WriteRun,
    tables: dict[str, Rows],
    environment: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"c{i // 7}/{i % 7}" for i in range(7 * 12)]
    tables["prompts"] = [prompt_row(name, name.split("/")[0]) for name in names]
    tables["coarse"] = coarse_rows(random_sets(names))
    frames = run_tables(make_run(tables, environment))
    before = consistency.consistency(frames)
    monkeypatch.setattr("kn_lightning.neuron_sets._CHUNK", 10)
    assert consistency.consistency(frames) == before


def test_without_a_pair_of_prompts_nothing_is_defined(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    tables["prompts"], tables["coarse"] = [prompt_row("cat/0", "cat")], []
    numbers = numbers_of(make_run(tables, environment))["consistency"]
    assert (numbers["n"], numbers["n_single"], numbers["n_pairs"]) == (0, 1, 0)
    undefined = ("mean", "median", "p25", "p75", "mean_ci", "random_expectation")
    assert all(numbers[key] is None for key in undefined)


def test_similarity_weighs_concepts_alike_however_many_prompts_they_have(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    values = {"cat": (0.5, 0.1), "dog": (0.75, 0.2), "owl": (0.25, None), "ant": (None, 0.9)}
    tables["prompts"] = [
        prompt_row(f"{name}/{i}", name, similarity=own, similarity_between=between)
        for place, (name, (own, between)) in enumerate(values.items())
        for i in range(1 + place)
    ]
    tables["coarse"] = []
    numbers = numbers_of(make_run(tables, environment))["similarity"]
    assert (numbers["n"], numbers["mean"], numbers["median"]) == (3, near(0.5), near(0.5))
    assert (numbers["n_between"], numbers["between_mean"]) == (2, near(0.15))


def test_overlap_by_hand(numbers: dict[str, Any]) -> None:
    # cat has (3, 7), (3, 8) and (1, 7); dog and script have (3, 7). cat and dog are nouns and
    # share the relation IsA, script has no part of speech and another relation.
    assert numbers["overlap"] == {
        "n_concepts": 3,
        "n_pairs": 3,
        "mean": near((1 / 3 + 1 / 3 + 1) / 3),
        "share_disjoint": 0.0,
        "max_pairs": [
            {"a": "<script>alert(1)</script>", "b": "dog", "jaccard": 1.0, "shared": 1},
            {"a": "<script>alert(1)</script>", "b": "cat", "jaccard": near(1 / 3), "shared": 1},
            {"a": "cat", "b": "dog", "jaccard": near(1 / 3), "shared": 1},
        ],
        "same_pos": {"n_pairs": 1, "mean": near(1 / 3)},
        "different_pos": None,
        "same_relation": {"n_pairs": 1, "mean": near(1 / 3)},
        "different_relation": {"n_pairs": 2, "mean": near((1 + 1 / 3) / 2)},
        "neurons_by_n_concepts": [[1, 2], [3, 1]],
    }


def studied(n: int) -> tuple[Rows, Sets]:
    """Concepts with two prompts of one or two relations and a part of speech or none."""
    rng = np.random.default_rng(2)
    names = [f"c{i:03}" for i in range(n)]
    rows = []
    for name in names:
        part = rng.choice(["noun", "verb", ""]) or None
        for i in range(2):
            relation = rng.choice(["a", "b", "c", "d", "e", ""]) or None
            rows.append(prompt_row(f"{name}/{i}", name, relation=relation, pos=part))
    return rows, random_sets(names, seed=3)


def mean_row(values: list[float]) -> dict[str, Any]:
    """As in the summary."""
    return {"n_pairs": len(values), "mean": pytest.approx(np.mean(values))}


@pytest.mark.parametrize("block", [7, 256])
def test_overlap_equals_that_of_pythons_sets(
    make_run: WriteRun,
    tables: dict[str, Rows],
    environment: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    block: int,
) -> None:
    monkeypatch.setattr(consistency, "_BLOCK", block)
    prompts, sets = studied(60)
    tables["prompts"], tables["neurons"], tables["edits"] = prompts, refined_rows(sets), []
    overlap = numbers_of(make_run(tables, environment))["overlap"]
    parts = {row["concept"]: row["pos"] for row in prompts}
    relations = {
        name: {row["relation"] for row in prompts if row["concept"] == name} - {None}
        for name in sets
    }
    names = sorted(name for name in sets if sets[name])
    assert overlap["n_concepts"] == len(names) < 60
    values: dict[str, list[float]] = {}
    ranked = []
    for a, b in combinations(names, 2):
        value = jaccard(sets[a], sets[b])
        values.setdefault("all", []).append(value)
        if parts[a] and parts[b]:
            values.setdefault(f"{parts[a] == parts[b]} pos", []).append(value)
        if relations[a] and relations[b]:
            shared = bool(relations[a] & relations[b])
            values.setdefault(f"{shared} relation", []).append(value)
        ranked.append((-value, -len(sets[a] & sets[b]), a, b))
    everything = mean_row(values["all"])
    assert {key: overlap[key] for key in everything} == everything
    assert overlap["share_disjoint"] == pytest.approx(np.mean(np.array(values["all"]) == 0))
    assert overlap["same_pos"] == mean_row(values["True pos"])
    assert overlap["different_pos"] == mean_row(values["False pos"])
    assert overlap["same_relation"] == mean_row(values["True relation"])
    assert overlap["different_relation"] == mean_row(values["False relation"])
    assert [(row["a"], row["b"]) for row in overlap["max_pairs"]] == [
        pair[2:] for pair in sorted(ranked)[:15]
    ]
    users = [sum(neuron in sets[name] for name in names) for neuron in set.union(*sets.values())]
    assert sum(n for _, n in overlap["neurons_by_n_concepts"]) == len(users)
    assert dict(overlap["neurons_by_n_concepts"]) == {n: users.count(n) for n in users}


def test_overlap_without_neurons_or_labels(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    for row in tables["prompts"]:
        row |= {"relation": None, "pos": None}
    overlap = numbers_of(make_run(tables, environment))["overlap"]
    labels = ("same_pos", "different_pos", "same_relation", "different_relation")
    assert all(overlap[key] is None for key in labels)
    assert overlap["n_pairs"] == 3
    tables["neurons"] = []
    overlap = numbers_of(make_run(tables, environment))["overlap"]
    assert (overlap["n_concepts"], overlap["n_pairs"], overlap["mean"]) == (0, 0, None)
    assert overlap["share_disjoint"] is None
    assert overlap["max_pairs"] == overlap["neurons_by_n_concepts"] == []
