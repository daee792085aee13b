"""Bars and histograms → the numbers that they draw, as a table for those who don't see them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from kn_lightning.report.labels import kind_label
from kn_lightning.report.language import say
from kn_lightning.report.listing import Listing, Row
from kn_lightning.report.numerals import count, number, percent, whole_percent

Summary = dict[str, Any]


def figure_listing(name: str, figure: Figure, numbers: Summary) -> Listing | None:
    """The table of a figure by its name; None where tables of the report have its numbers.

    Args:
        name: of the figure.
        figure: drawn.
        numbers: ``summary.json``.
    """
    edit, _, what = name.partition("_")
    if what == "concepts" and edit in numbers["window"]:
        return _concepts(numbers, edit)
    if name == "neurons_by_layer":
        return _layers(figure)
    return _bins(name, figure) if any(map(_steps, figure.axes)) else None


def _listing(columns: Row, rows: list[Row]) -> Listing:
    return Listing(say("Numbers of the figure"), columns, tuple(rows), folded=True)


def _concepts(numbers: Summary, edit: str) -> Listing:
    kinds = ("own", "unrelated")
    rows = [
        (row["concept"], *(percent(row[kind]) for kind in kinds)) for row in numbers["window"][edit]
    ]
    return _listing((say("Concept"), *(kind_label(kind, numbers) for kind in kinds)), rows)


def _layers(figure: Figure) -> Listing:
    """Of each layer, the heights of its bars."""
    bars = figure.axes[0].containers
    heights = np.array([[bar.get_height() for bar in one] for one in bars])
    # Published ones are scaled to as many concepts, and no whole numbers.
    rows = [(str(layer), *map(count, np.round(own))) for layer, own in enumerate(heights.T)]
    return _listing((say("Layer (0-based)"), *(str(one.get_label()) for one in bars)), rows)


def _bins(name: str, figure: Figure) -> Listing:
    """Of each bin that isn't empty in all, its borders and the counts."""
    found = [(axes, patch) for axes in figure.axes for patch in _steps(axes)]
    labels = [_label(axes, patch) for axes, patch in found]
    _, edges, _ = found[0][1].get_data()
    heights = np.array([patch.get_data()[0] for _, patch in found])
    rows = [
        (*_borders(name, low, high), *map(count, own))
        for low, high, own in zip(edges[:-1], edges[1:], heights.T, strict=True)
        if own.any()
    ]
    return _listing((say("From"), say("To"), *labels), rows)


def _steps(axes: Axes) -> list[StepPatch]:
    """The outlines of a histogram's panel; one that is only a filling lies below its own."""
    found = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    return [patch for patch in found if _named(patch)] or found[-1:]


def _named(patch: StepPatch) -> bool:
    # matplotlib's own names for what has none begin so.
    return not str(patch.get_label() or "_").startswith("_")


def _label(axes: Axes, patch: StepPatch) -> str:
    return str(patch.get_label()) if _named(patch) else axes.get_title("left") or axes.get_ylabel()


def _borders(name: str, low: float, high: float) -> tuple[str, str]:
    """Of a bin, in the unit of the figure's axis; of whole numbers the first and the last in it."""
    match name:
        case "neurons_per_concept":
            return count(math.ceil(low)), count(math.floor(high))
        case "consistency":
            return number(low), number(high)
        case "completeness":
            return whole_percent(float(f"{low:.2g}")), whole_percent(float(f"{high:.2g}"))
    return whole_percent(round(low, 9)), whole_percent(round(high, 9))
