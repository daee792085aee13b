"""Changes with a control of a given size → how the control is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from kn_lightning.report import comparisons, effects

OWN = np.linspace(-0.4, -0.6, 11)


def read(control: Any, own: Any = OWN, edit: str = "suppress") -> dict[str, Any]:
    """The row of the one control."""
    frames = [
        pd.DataFrame({"edit": edit, "kind": kind, "concept": list("abcdefghijk"), "change": values})
        for kind, values in (("own", own), ("random", control))
    ]
    changes = pd.concat(frames)
    (row,) = effects.controls(changes, comparisons.tests(changes, pd.Series(dtype="str")))
    return row


@pytest.mark.parametrize(
    ("size", "noise", "reading"),
    [
        (0.2, 0.0, "less"),
        (0.6, 0.0, "notable"),
        (0.95, 0.0, "as_much"),
        (-1.0, 0.0, "as_much"),  # to the other side
        (0.6, 0.8, "unclear"),  # less far in the median, but the test does not tell them apart
        (0.4, 1.8, "unclear"),
    ],
)
def test_controls_are_read_by_size_and_test(size: float, noise: float, reading: str) -> None:
    sides = np.array([1, -1, 1, -1, 1, 0, -1, 1, -1, 1, -1])
    row = read(size * OWN + noise * sides)
    assert row["reading"] == reading
    assert row["ratio"] == pytest.approx(abs(size))
    assert (row["p_adjusted"] < 0.05) == (noise == 0)


def test_a_control_carries_the_effect_of_its_test() -> None:
    row = read(0.2 * OWN)
    assert row["effect_size"] == pytest.approx(-1)  # own is lower for every concept
    assert row["p_adjusted"] == pytest.approx(2 / 2**11)


@pytest.mark.parametrize("size", [0.2, 1.0])
def test_too_few_concepts_for_a_test_have_no_reading(size: float) -> None:
    control = np.where(np.arange(11) < 4, size * OWN, np.nan)
    row = read(control)
    assert (row["n_pairs"], row["reading"]) == (4, None)
    assert row["ratio"] == pytest.approx(size)
    assert row["p_adjusted"] is row["effect_size"] is None


def test_medians_are_those_of_concepts_with_both_values() -> None:
    own = np.where(np.arange(11) < 5, -0.2, -0.8)
    control = np.where(np.arange(11) < 5, -0.2, np.nan)
    control[5], own[5] = -0.1, np.nan  # a control without own is no pair either
    row = read(control, own)
    assert (row["own_median"], row["control_median"]) == (-0.2, -0.2)
    assert (row["n_pairs"], row["ratio"], row["reading"]) == (5, 1.0, "as_much")


def test_own_that_does_not_move_where_its_control_is_known_has_no_reading() -> None:
    own = np.where(np.arange(11) < 6, 0.0, -0.8)
    row = read(np.where(np.arange(11) < 6, -0.3, np.nan), own)
    assert (row["n_pairs"], row["reading"]) == (6, None)


def test_an_edit_that_moves_nothing_has_no_reading() -> None:
    rounding = 1e-5 * OWN
    assert read(rounding, rounding, "factor:1.5")["reading"] is None
    assert read(0.0 * OWN, 0.0 * OWN)["reading"] is None
    # With a low precision, rounding is larger: a factor of 1 moves nothing whatever is measured.
    assert read(0.01 * OWN, 0.01 * OWN, "factor:1.0")["reading"] is None
    assert read(0.01 * OWN, 0.01 * OWN, "factor:1.5")["reading"] == "as_much"


def test_own_that_does_not_move_in_the_median_is_outdone_by_any_control() -> None:
    own = np.where(np.arange(11) < 3, -0.5, 0.0)
    assert read(OWN, own)["reading"] == "as_much"
