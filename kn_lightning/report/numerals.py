"""Numbers → the text of the report and of the figures; what is undefined becomes a dash."""

from __future__ import annotations

import re
from collections.abc import Callable

MINUS = "\N{MINUS SIGN}"
GAP = "\N{NO-BREAK SPACE}"
"""Keeps a number and its sign on one line."""
_DASH = "\N{EN DASH}"


def percent(fraction: float | None) -> str:
    """A change in percent with its sign: -0.431 → "−43.1 %"."""
    if fraction is None:
        return _DASH
    size = abs(100 * fraction)
    text = f"{size:,.0f}" if size >= 1000 else f"{size:.1f}" if size >= 0.095 else f"{size:.2f}"
    sign = "" if text == "0.00" else MINUS if fraction < 0 else "+"
    return f"{sign}{text}{GAP}%"


def with_interval(
    write: Callable[[float | None], str], value: float | None, limits: list[float] | None
) -> str:
    """A value with its confidence interval, if it has one: "−38.9 % [−40.1, −37.2]"."""
    if limits is None:
        return write(value)
    low, high = (write(limit).removesuffix(f"{GAP}%") for limit in limits)
    return f"{write(value)} [{low}, {high}]"


def points(fraction: float | None) -> str:
    """A difference of two changes, in percentage points: -0.191 → "−19.1"."""
    return percent(fraction).removesuffix(f"{GAP}%")


def whole_percent(fraction: float) -> str:
    """A tick or border of an axis in percent, without needless digits: -0.25 → "−25 %"."""
    return f"{MINUS if fraction < 0 else ''}{abs(100 * fraction):,.10g}{GAP}%"


def unbroken(text: str) -> str:
    """Text whose lines don't end inside "95 %", "n = 148" or "suppress (× 0)"."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\bn) (?==)|(?<=\bn =) (?=\d)|(?<=\w) (?=\(×)", GAP, text)


def share(fraction: float | None) -> str:
    """A part of a whole in percent, without a sign: 0.973 → "97.3 %"."""
    if fraction is None:
        return _DASH
    size = 100 * fraction
    # Residuals are small: two significant digits, so that they do not all read 0.0 %.
    text = f"{size:,.0f}" if size >= 1000 else f"{size:.2g}" if 0 < size < 0.095 else f"{size:.1f}"
    return f"{text}{GAP}%"


def signed(value: float | None) -> str:
    """A difference with its sign: "−1.25"."""
    text = number(value)
    return text if value is None or value <= 0 or text == "0.00" else f"+{text}"


def number(value: float | None) -> str:
    """A number between -1 and 1, or a bit beyond, with two digits behind the point: "−0.41"."""
    if value is None:
        return _DASH
    text = f"{abs(value):.2f}"
    return f"{MINUS}{text}" if value < 0 and text != "0.00" else text


def p_value(value: float | None) -> str:
    """A probability of a test: "0.012", "< 0.001"."""
    if value is None:
        return _DASH
    return f"{value:.3f}" if value >= 0.001 else f"<{GAP}0.001"


def probability(value: float | None) -> str:
    """A probability: three digits behind the point, two significant ones where that would be 0."""
    if value is None:
        return _DASH
    return f"{value:.3f}" if value == 0 or value >= 0.001 else f"{value:.1e}"


def count(value: float | None) -> str:
    """A count, or a mean of counts with one digit behind the point: 3168 → "3,168"."""
    if value is None:
        return _DASH
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def seconds(value: float | None) -> str:
    """A duration given in seconds: "41 s", "12 min 5 s", "3 h 20 min"."""
    if value is None:
        return _DASH
    if value < 60:
        return f"{value:.1f}{GAP}s" if value < 10 else f"{value:.0f}{GAP}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{GAP}min {rest}{GAP}s"
    return f"{minutes // 60}{GAP}h {minutes % 60}{GAP}min"
