"""Agreement of attributions → numbers by hand, table, figure; residuals that are no errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.patches import PathPatch

from kn_lightning.report import agreement_figures, canvas, write_report
from kn_lightning.report.captions import captions
from kn_lightning.report.listings import listings
from kn_lightning.report.tables import run_tables

from .runs import Rows, WriteRun, agreement_row, near, numbers_of, plain

Numbers = dict[str, Any]
Run = dict[str, Any]


@pytest.fixture
def compared(make_run: WriteRun, tables: dict[str, Rows], environment: Run) -> Path:
    """The planted run with two attributions beside its own."""
    overlaps = {"cat/0": 0.2, "cat/1": 0.4, "dog/0": 0.9, "script/0": 0.5, "bare/0": 0.1}
    tables["agreement"] = [
        row
        for prompt_id, overlap in overlaps.items()
        for row in (
            agreement_row(prompt_id, "mine", overlap_10=overlap, overlap_coarse=None),
            agreement_row(prompt_id, "ablation", spearman=None, n_candidates=80),
        )
    ]
    environment["study"]["compare"] = ["mine", "ablation"]
    return make_run(tables, environment)


def test_a_concept_weighs_the_same_whatever_its_prompts(compared: Path) -> None:
    found = numbers_of(compared)["agreement"]
    assert list(found) == ["mine", "ablation"]
    mine, ablation = found.values()
    assert (mine["n_prompts"], mine["n_candidates"]) == (5, 90.0)
    # 0.3, 0.9, 0.5 and 0.1: cat has the mean of two prompts
    ten = mine["measures"]["overlap_10"]
    assert (ten["n"], ten["median"]) == (4, near(0.4))
    assert ten["median_ci"] is None  # of four
    assert (ten["p25"], ten["p75"]) == (near(0.25), near(0.6))
    assert mine["measures"]["overlap_coarse"]["n"] == 0
    assert mine["measures"]["overlap_coarse"]["median"] is None
    assert ablation["measures"]["spearman"] == {
        "n": 0, "median": None, "median_ci": None, "p05": None, "p25": None, "p75": None,
        "p95": None,
    }  # fmt: skip


def test_without_comparison_there_is_no_word_of_it(run_dir: Path) -> None:
    numbers = numbers_of(run_dir)
    assert numbers["agreement"] == {}
    assert "agreement" not in listings(numbers)
    assert "agreement" not in captions(numbers)


def test_table_has_medians_and_intervals(rich_numbers: Numbers) -> None:
    table = listings(rich_numbers)["agreement"]
    assert [row[0] for row in table.rows] == [
        "activation",
        "gradient × activation",
        "exact ablation",
    ]
    assert "integrated gradients" in table.title
    assert "6,144 neurons" in table.note
    assert "0.2 %" in plain(table.note)
    assert "computed for 90 neurons a prompt" in table.note
    assert all("%" in row[1] and "[" in row[1] for row in table.rows)
    assert table.rows[2][4] == "–"


def test_a_users_own_attribution_is_called_as_it_is(compared: Path) -> None:
    assert listings(numbers_of(compared))["agreement"].rows[0][0] == "mine"


def test_figure_has_a_box_for_every_measure_that_is_there(
    rich_run: Path, rich_numbers: Numbers
) -> None:
    with canvas.style():
        figure = agreement_figures.agreement("", rich_numbers, run_tables(rich_run))
    boxes = [[part for part in axes.patches if isinstance(part, PathPatch)] for axes in figure.axes]
    assert [len(part) for part in boxes] == [6, 5]  # ablation has no correlation over all neurons
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert len(labels) == 4
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == ["activation", "gradient\n× activation", "exact\nablation"]


@pytest.mark.parametrize("attribution", ["activation", "gradient_activation", "ablation", "mine"])
def test_what_need_not_add_up_has_no_error_of_completeness(
    make_run: WriteRun, tables: dict[str, Rows], environment: Run, attribution: str
) -> None:
    environment["study"]["attribution"] = attribution
    run_dir = make_run(tables, environment)
    write_report(run_dir)
    numbers = numbers_of(run_dir)
    assert numbers["completeness"]["tolerance"] is None
    assert numbers["completeness"]["n_above_tolerance"] is None
    assert numbers["completeness"]["median"] == near(0.0025)
    assert not (run_dir / "figures" / "completeness.png").exists()
    text = (run_dir / "report.md").read_text(encoding="utf-8").lower()
    assert "error of completeness" not in text
    assert "tolerance of" not in text
    assert "no error" in text
    assert ("ablated neurons a prompt" in text) == (attribution == "ablation")


def test_runs_of_before_there_was_a_choice_are_of_integrated_gradients(
    run_dir: Path, numbers: Numbers
) -> None:
    assert "attribution" not in numbers["environment"]["study"]
    assert numbers["completeness"]["n_above_tolerance"] == 1
    assert "completeness" in captions(numbers)
