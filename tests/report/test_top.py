"""The best neurons by number → points by hand, sentence, table, figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kn_lightning.report import canvas, top_figures
from kn_lightning.report.captions import captions
from kn_lightning.report.listings import listings
from kn_lightning.report.wording import findings

from .runs import Rows, WriteRun, edit_row, near, numbers_of, plain

CHANGES = {
    1: {"cat": (-0.2, 0.0), "dog": (-0.4, 0.1)},
    10: {"cat": (-0.5, 0.0), "dog": (-0.9, -0.1)},
}
"""By number and concept: what the best neurons do, and what random ones do in the mean."""


@pytest.fixture
def curved(
    numbers: dict[str, Any],
    make_run: WriteRun,
    tables: dict[str, Rows],
    environment: dict[str, Any],
) -> Path:
    """The planted run with a curve; cat has two prompts, of unlike probabilities.

    ``numbers`` are those of the run without it, summed up before.
    """
    for k, concepts in CHANGES.items():
        for concept, (best, random) in concepts.items():
            named = {f"top:{k}": best, f"top_random:{k}:0": random - 0.1}
            named[f"top_random:{k}:1"] = random + 0.1
            for neurons, change in named.items():
                for number, before in enumerate((0.6, 0.2) if concept == "cat" else (0.5,)):
                    after = before * (1 + change)
                    row = edit_row(concept, f"{concept}/{number}", "suppress", before, after)
                    tables["edits"].append(row | {"neurons": neurons, "n_neurons": k})
    environment["study"]["top"] = [*CHANGES]
    return make_run(tables, environment, "curved")


def test_points_are_the_changes_planted(curved: Path) -> None:
    points = numbers_of(curved)["top"]["points"]
    assert [point["k"] for point in points] == [1, 10]
    one, ten = points
    assert (one["top"]["n"], one["top"]["median"]) == (2, near(-0.3))
    assert one["top_random"]["median"] == near(0.05)
    assert (one["top"]["p25"], one["top"]["p75"]) == (near(-0.35), near(-0.25))
    assert (one["top"]["falls_by_half"], ten["top"]["falls_by_half"]) == (0.0, 1.0)
    assert ten["top"]["median"] == near(-0.7)
    assert one["test"] is None  # two concepts are too few


def test_the_other_edits_know_nothing_of_it(curved: Path, numbers: dict[str, Any]) -> None:
    with_curve, without = numbers_of(curved), numbers
    assert without["top"] == {}
    for part in ("changes", "controls", "tests", "histograms", "by_pos", "most_neurons"):
        assert with_curve[part] == without[part]


def test_a_test_pairs_concepts_and_is_adjusted_over_numbers(rich_numbers: dict[str, Any]) -> None:
    points = rich_numbers["top"]["points"]
    assert [point["k"] for point in points] == [1, 5, 10]
    for point in points:
        test = point["test"]
        assert (test["n_a"], test["effect_size"] < -0.5) == (66 - 1, True)
        assert test["p"] <= test["p_adjusted"] < 1e-6


def test_words_and_table_have_the_numbers(curved: Path, rich_numbers: dict[str, Any]) -> None:
    numbers = numbers_of(curved)
    assert any(
        "Suppressing the 1 neuron with the largest score changes the answer's probability by "
        "−30.0 %"
        in plain(text)
        and "(2 concepts), the 10 neurons by −70.0 %" in plain(text)
        for text in findings(numbers)
    )
    rows = listings(numbers)["top"].rows
    assert [row[0] for row in rows] == ["1", "10"]
    assert plain(rows[1][4]) == "100.0 %"
    assert "top" not in listings(numbers | {"top": {}})
    assert "top_curve" not in captions(numbers | {"top": {}})


def test_the_figure_has_a_line_for_either(rich_numbers: dict[str, Any]) -> None:
    with canvas.style():
        figure = top_figures.top_curve("title", rich_numbers)
        (axes,) = figure.axes
        curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
    points = rich_numbers["top"]["points"]
    assert [list(line.get_xdata()) for line in curves] == [[1, 5, 10]] * 2
    assert [list(line.get_ydata()) for line in curves] == [
        [point[source]["median"] for point in points] for source in ("top", "top_random")
    ]
