"""Distributions by edit and kind → dose curves."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.doses import doses

from .runs import Rows, WriteRun, edit_row, near, numbers_of


def distribution(median: float, n: int = 40) -> dict[str, Any]:
    """What the summary says of one edit and kind."""
    row = {"n": n, "median": median, "mean": median + 0.1, "median_ci": [median - 0.2, median]}
    return row | {"p25": median - 1, "p75": median + 1, "p05": median - 2, "falls": 0.5}


UNEDITED = {"factor": 1.0, "n": 40, "median": 0.0, "median_ci": [0.0, 0.0]} | {
    "p25": 0.0,
    "p75": 0.0,
    "mean": 0.0,
}


def test_curves_run_through_the_unedited_encoder_by_factor() -> None:
    changes = {
        "suppress": {"own": distribution(-0.5), "random": distribution(0.0, n=39)},
        "amplify": {"own": distribution(1.0, n=38)},
        "factor:-1.5": {"own": distribution(-0.8)},
        "erase": {"own": distribution(-0.9)},
    }
    curves = doses(changes)
    assert list(curves) == ["own", "random"]
    own = curves["own"]
    assert [point["factor"] for point in own] == [-1.5, 0.0, 1.0, 2.0]
    assert [point["median"] for point in own] == [-0.8, -0.5, 0.0, 1.0]
    assert own[2] == UNEDITED
    kept = ("n", "median", "median_ci", "p25", "p75", "mean")
    assert own[3] == {"factor": 2.0} | {key: distribution(1.0, n=38)[key] for key in kept}
    assert [(point["factor"], point["n"]) for point in curves["random"]] == [(0.0, 39), (1.0, 39)]


def test_a_measured_factor_of_one_is_no_second_point() -> None:
    edits = ("suppress", "factor:0.5", "factor:1.0", "factor:3")
    curve = doses({edit: {"own": distribution(-0.1)} for edit in edits})["own"]
    assert [point["factor"] for point in curve] == [0.0, 0.5, 1.0, 3.0]
    assert curve[2] == UNEDITED


def test_two_factors_make_no_curve() -> None:
    edits = ("suppress", "amplify", "factor:1", "erase", "factor:many")
    assert doses({edit: {"own": distribution(-0.1)} for edit in edits}) == {}
    assert doses({}) == {}


def test_curve_of_a_run(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    tables["edits"] += [edit_row("cat", "cat/0", "factor:0.5", 0.8, 0.6)]
    curve = numbers_of(make_run(tables, environment))["doses"]["own"]
    assert [point["factor"] for point in curve] == [0.0, 0.5, 1.0, 2.0]
    assert [point["n"] for point in curve] == [3, 1, 3, 3]
    assert [point["median"] for point in curve] == [near(-0.25), near(-0.25), 0.0, near(1.0)]
    assert curve[1]["median_ci"] is None
