"""The scripts behind docs/science.md run on the testbed, and give what its tables need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .quick import BENCHMARKS, rows_of
from .quick import quick as quick

pytestmark = pytest.mark.slow


PARTS = ("adjective", "adverb", "noun", "verb")


def stored(name: str) -> dict[str, Any]:
    """Cells of the results by the question behind their names."""
    cells = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return {cell.rpartition(": ")[2]: found for cell, found in cells.items()}


def test_questions(quick: Any) -> None:
    cells = {name.rpartition(": ")[2]: cell for name, cell in quick("questions").items()}
    rows = {name: rows_of({"": cell}) for name, cell in cells.items()}
    for name, cell in stored("questions").items():
        assert [*cell["rows"][0]] == [*rows[name][0]]
    found = {(row["attribution"], row["measure"]): row for row in rows.pop(next(iter(rows)))}
    assert found["gradient_activation", "spearman"]["median"] > 0.8
    assert found["ablation", "overlap_10"]["median"] > found["activation", "overlap_10"]["median"]
    own = {row["factor"]: row["median"] for row in rows["doses"] if row["kind"] == "own"}
    assert [*own] == [0, 0.5, 1.5, 2, 3]
    assert own[0] < own[0.5] < 0
    top = [row for row in rows["number of neurons"] if row["source"] == "top"]
    assert [row["neurons"] for row in top] == [1, 2, 5, 10, 20, 50]
    assert top[-1]["median"] < top[0]["median"] < 0
    for row in rows["consistency"]:
        assert 0 <= row["between"] < row["within"]
    assert rows["consistency"][1]["larger_within"] == 6


def test_negated_prompts(quick: Any) -> None:
    (cell,) = quick("negated_prompts").values()
    rows = {(row["edit"], row["kind"]): row for row in rows_of({"": cell})}
    assert rows["suppress", "own"]["median"] < 0
    assert rows["suppress", "negated"]["concepts"] == cell["counts"]["concepts"]
    assert 0 <= rows["suppress", "negated"]["p"] <= 1
    assert 0 < cell["unedited"]["probability_kept"]["median"] < 1
    guesses = cell["unedited"]["first_guess"]
    assert guesses["negations"] < guesses["prompts"] == 1


def test_exhaustive_ablation(quick: Any) -> None:
    (cell,) = quick("exhaustive_ablation").values()
    rows = rows_of({"": cell})
    assert cell["neurons_ablated"] == 4 * 512
    assert cell["largest_difference"] < 1e-5
    # A neuron outside the candidates can only take a place that one of them had.
    (ten,) = [row for row in rows if row["measure"] == "overlap at 10"]
    assert 0.5 < ten["mean"] <= ten["mean_of_candidates"]
    assert rows[0]["median"] > 0.5


def test_a_neuron_outside_the_candidates_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import torch
    from exhaustive_ablation import OUTSIDE, measured

    from kn_lightning.core.comparison import Compared

    own = torch.arange(40.0, 0, -1).view(1, 2, 20)
    exact = own.clone()
    exact[0, 1, 19] = 100.0  # the last by integrated gradients, the first by ablation
    candidates = own > 10
    limited = torch.where(candidates, exact, torch.nan)
    every, few = measured(own, exact, Compared(limited, candidates))
    assert every[OUTSIDE].tolist() == pytest.approx([0.1])
    assert every["overlap at 10"].tolist() == pytest.approx([0.9])
    assert few["overlap at 10"].tolist() == [1.0]


def test_shared_neurons(quick: Any, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("kitten\tpuppy\nlamb\tpuppy\nkitten\tlamb\nno\tconcept\n")
    (cell,) = quick("shared_neurons", "--pairs", str(pairs)).values()
    rows = {row["pairs"]: row for row in rows_of({"": cell})}
    assert {*rows} < {
        row["pairs"] for one in stored("shared_neurons").values() for row in one["rows"]
    }
    sentences = rows["sentences, permuted within the relation"]
    assert 0 <= sentences["mean"] <= 1
    assert sentences["n"] > 20
    assert cell["subject"]["concepts"] == cell["object"]["concepts"] == 12
    assert {cell[mask]["with_part_of_speech"] for mask in ("subject", "object")} <= {0, 12}


def test_formation(quick: Any) -> None:
    cells = {name.removeprefix("testbed: "): cell for name, cell in quick("formation").items()}
    assert [*cells] == [*stored("formation")]
    by_step, order, by_layer, by_part, dates = (rows_of({"": cell}) for cell in cells.values())
    for rows in (by_step, by_layer, by_part):
        assert [row["step"] for row in rows] == [0, 2, 4]
    assert by_step[-1]["jaccard_with_last"] == 1
    assert {by_layer[-1][f"layer_{layer}"] for layer in range(4)} <= {1, None}
    assert {by_part[-1][part] for part in PARTS} == {1, None}
    assert cells["by step"]["concepts"] == 6
    assert [row["concepts"] for row in dates if row["of"] == "all"] == [6, 6]
    assert {row["neurons_are_there"] for row in order} == {"first", "lasting"}
