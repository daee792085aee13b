"""Planted run folders → the tables of the report, worked out by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kn_lightning.report.rankings import window

from .runs import SCRIPT, near


def test_relations_use_their_own_prompts_only(numbers: dict[str, Any]) -> None:
    rows = {row["relation"]: row for row in numbers["by_relation"]}
    assert set(rows) == {"IsA", "a|b", None}
    # cat/0 alone falls from 0.8 to 0.5, cat/1 (no relation) from 0.4 to 0.1.
    assert rows["IsA"]["own_median"]["suppress"] == near((-0.375 - 0.25) / 2)
    assert rows[None]["own_median"]["suppress"] == near(-0.75)
    assert (rows[None]["concepts"], rows[None]["prompts"]) == (2, 2)
    assert rows[None]["concepts_measured"] == 1


def test_parts_of_speech(numbers: dict[str, Any]) -> None:
    rows = {row["pos"]: row for row in numbers["by_pos"]}
    assert rows["noun"]["own_median"]["suppress"] == near(-0.375)
    assert rows["verb"]["concepts_measured"] == 0
    assert rows["noun"]["own_n"] == {"suppress": 2, "amplify": 2}
    assert rows["verb"]["own_n"] == {"suppress": 0, "amplify": 0}
    assert rows["verb"]["own_median"]["suppress"] is None
    assert rows[None]["own_median"]["suppress"] == near(0.5)


def test_rankings(numbers: dict[str, Any]) -> None:
    assert [row["concept"] for row in numbers["most_neurons"]] == ["cat", SCRIPT, "dog"]
    strongest = numbers["strongest_suppression"]
    assert [row["concept"] for row in strongest] == ["cat", "dog", SCRIPT]
    assert [row["random"] for row in strongest] == [near(0.1), near(-0.1), None]
    assert numbers["shared_neurons"] == [
        {"layer": 3, "neuron": 7, "concepts": 3, "share": 1.0, "examples": ["dog", "cat", SCRIPT]}
    ]


def own_changes(names: list[str]) -> pd.DataFrame:
    """A change of 0 for every name."""
    rows = [{"edit": "suppress", "kind": "own", "concept": name, "change": 0.0} for name in names]
    return pd.DataFrame(rows)


def found(names: list[str]) -> list[str]:
    """The names in the window."""
    return [row["concept"] for row in window(own_changes(names), "suppress")]


def test_window_has_seven_on_each_side_in_dictionary_order() -> None:
    names = [f"A{p:02}" for p in range(20)] + ["kitten"] + [f"z{p:02}" for p in range(20)]
    assert found(names[::-1]) == names[13:28]


def test_window_lies_where_kitten_would_stand() -> None:
    names = [f"a{p:02}" for p in range(20)] + [f"z{p:02}" for p in range(20)]
    assert found(names) == names[13:28]


def test_window_stays_full_at_the_border() -> None:
    names = ["kitten"] + [f"z{p:02}" for p in range(20)]
    assert found(names) == names[:15]
    names = [f"a{p:02}" for p in range(20)] + ["kitten"]
    assert found(names) == names[-15:]


def test_window_of_few_concepts() -> None:
    assert found(["b", "A"]) == ["A", "b"]
