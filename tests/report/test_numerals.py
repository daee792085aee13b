"""Numbers → their texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kn_lightning.report import numerals


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (numerals.percent, -0.431, "−43.1 %"),
        (numerals.percent, 12.5, "+1,250 %"),
        (numerals.percent, -0.0004, "−0.04 %"),
        (numerals.percent, -0.00001, "0.00 %"),
        (numerals.percent, None, "–"),
        (numerals.whole_percent, -1.0, "−100 %"),
        (numerals.whole_percent, 10.0, "1,000 %"),
        (numerals.share, 0.973, "97.3 %"),
        (numerals.share, 0.000123, "0.012 %"),
        (numerals.share, 0.0, "0.0 %"),
        (numerals.signed, -1.254, "−1.25"),
        (numerals.signed, 0.001, "0.00"),
        (numerals.signed, 0.254, "+0.25"),
        (numerals.number, 0.414, "0.41"),
        (numerals.number, -0.414, "−0.41"),
        (numerals.number, -0.001, "0.00"),
        (numerals.number, None, "–"),
        (numerals.points, -0.191, "−19.1"),
        (numerals.p_value, 0.0412, "0.041"),
        (numerals.p_value, 0.00099, "< 0.001"),
        (numerals.p_value, 1.0, "1.000"),
        (numerals.p_value, None, "–"),
        (numerals.probability, 0.0004, "4.0e-04"),
        (numerals.probability, 0.5, "0.500"),
        (numerals.count, 3168, "3,168"),
        (numerals.count, 6.67, "6.7"),
        (numerals.seconds, 63.0, "1 min 3 s"),
        (numerals.seconds, 12000.0, "3 h 20 min"),
        (numerals.seconds, 4.25, "4.2 s"),
    ],
)
def test_text(write: Callable[[Any], str], value: float | None, text: str) -> None:
    assert write(value).replace("\N{NO-BREAK SPACE}", " ") == text


def test_interval_has_no_second_unit() -> None:
    text = numerals.with_interval(numerals.percent, -0.5, [-0.61, 0.02])
    assert text.replace("\N{NO-BREAK SPACE}", " ") == "−50.0 % [−61.0, +2.0]"
    assert numerals.with_interval(numerals.number, 0.5, None) == "0.50"


def test_lines_do_not_end_inside_a_figure() -> None:
    gap = "\N{NO-BREAK SPACE}"
    said = numerals.unbroken("[95 % of them] (n = 1,148); then = 3, and %; suppress (× 0)")
    assert said == f"[95{gap}% of them] (n{gap}={gap}1,148); then = 3, and %; suppress{gap}(× 0)"
