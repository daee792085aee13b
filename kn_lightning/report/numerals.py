"""Numbers → the text of the report and of the figures; what is undefined becomes a dash."""

from __future__ import annotations

MINUS = "\N{MINUS SIGN}"
_DASH = "\N{EN DASH}"
# Keeps a number and its sign on one line.
_GAP = "\N{NO-BREAK SPACE}"


def percent(fraction: float | None) -> str:
    """A change in percent with its sign: -0.431 → "−43.1 %"."""
    if fraction is None:
        return _DASH
    size = abs(100 * fraction)
    text = f"{size:,.0f}" if size >= 1000 else f"{size:.1f}" if size >= 0.095 else f"{size:.2f}"
    sign = "" if text == "0.00" else MINUS if fraction < 0 else "+"
    return f"{sign}{text}{_GAP}%"


def whole_percent(fraction: float) -> str:
    """A tick or border of an axis in percent, without needless digits: -0.25 → "−25 %"."""
    return f"{MINUS if fraction < 0 else ''}{abs(100 * fraction):,.10g}{_GAP}%"


def share(fraction: float | None) -> str:
    """A part of a whole in percent, without a sign: 0.973 → "97.3 %"."""
    if fraction is None:
        return _DASH
    size = 100 * fraction
    # Residuals are small: two significant digits, so that they do not all read 0.0 %.
    text = f"{size:,.0f}" if size >= 1000 else f"{size:.2g}" if 0 < size < 0.095 else f"{size:.1f}"
    return f"{text}{_GAP}%"


def signed(value: float | None) -> str:
    """A difference with its sign: "−1.25"."""
    if value is None:
        return _DASH
    text = f"{abs(value):.2f}"
    return text if text == "0.00" else f"{MINUS if value < 0 else '+'}{text}"


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
        return f"{value:.1f}{_GAP}s" if value < 10 else f"{value:.0f}{_GAP}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{_GAP}min {rest}{_GAP}s"
    return f"{minutes // 60}{_GAP}h {minutes % 60}{_GAP}min"


def of(n: int, noun: str) -> str:
    """A count with its noun: "1 concept", "264 concepts"."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"
