"""Figures → the numbers that they draw, as tables for those who don't see them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch

from kn_lightning.report.agreement_figures import PANELS
from kn_lightning.report.agreement_wording import attribution_label, measure_label
from kn_lightning.report.labels import edit_label, interval, kind_label, main_edits
from kn_lightning.report.language import say
from kn_lightning.report.listing import Listing, Row
from kn_lightning.report.numerals import (
    GAP,
    count,
    number,
    percent,
    share,
    whole_percent,
    with_interval,
)
from kn_lightning.report.top import SOURCES as TOP_SOURCES
from kn_lightning.report.top_wording import source_label as top_label
from kn_lightning.report.value_wording import source_label as value_label
from kn_lightning.report.values import SOURCES as VALUE_SOURCES

Summary = dict[str, Any]
_QUANTILES = ("p05", "p25", "median", "p75", "p95")


def figure_listings(name: str, figure: Figure, numbers: Summary) -> tuple[Listing, ...]:
    """The tables of a figure by its name; none where a table of the report has all its numbers.

    Args:
        name: of the figure.
        figure: drawn.
        numbers: ``summary.json``.
    """
    edit, _, what = name.partition("_")
    if what == "concepts" and edit in numbers["window"]:
        return (_concepts(numbers, edit),)
    match name:
        case "neurons_by_layer":
            return (_layers(figure),)
        case "change_by_kind":
            return (_changes(figure, numbers),)
        case "agreement":
            return (_agreement(figure, numbers),)
        case "top_curve":
            return (_top(numbers),)
        case "values":
            return _shares_by_rank(figure, numbers), _ranks_by_layer(numbers)
    return (_bins(name, figure),) if any(map(_steps, figure.axes)) else ()


def _listing(columns: Row, rows: list[Row], n_words: int = 1, title: str = "") -> Listing:
    title = title or say("Numbers of the figure")
    return Listing(title, columns, tuple(rows), n_words, folded=True)


def _changes(figure: Figure, numbers: Summary) -> Listing:
    """Of each edit and kind, its box."""
    rows = []
    for axes, edit in zip(figure.axes, main_edits(numbers), strict=True):
        drawn = {kind: row for kind, row in numbers["changes"][edit].items() if row["n"]}
        for (kind, row), beyond in zip(drawn.items(), _beyond(axes), strict=True):
            words = (edit_label(edit), kind_label(kind, numbers))
            rows.append((*words, *_box(percent, row, beyond)))
    return _listing((say("Edit"), say("Measured on"), *_box_heads()), rows, n_words=2)


def _agreement(figure: Figure, numbers: Summary) -> Listing:
    """Of each measure and attribution, its box."""
    rows = []
    for axes, measures in zip(figure.axes, PANELS, strict=True):
        drawn = [
            (name, measure, found["measures"][measure])
            for measure in measures
            for name, found in numbers["agreement"].items()
            if found["measures"][measure]["n"]
        ]
        for (name, measure, row), beyond in zip(drawn, _beyond(axes), strict=True):
            write = share if measure.startswith("overlap") else number
            words = (measure_label(measure), attribution_label(name))
            rows.append((*words, *_box(write, row, beyond)))
    return _listing((say("Measure"), say("Attribution"), *_box_heads()), rows, n_words=2)


def _beyond(axes: Axes) -> list[Line2D]:
    """The points beyond the whiskers of each box, in the order drawn."""
    return [line for line in axes.lines if line.get_linestyle() == "None"]


def _box_heads() -> Row:
    percents = (f"5{GAP}%", f"25{GAP}%", say("Median"), f"75{GAP}%", f"95{GAP}%")
    return (say("Concepts"), say("Lowest"), *percents, say("Highest"))


def _box(write: Callable[[float | None], str], row: dict[str, Any], beyond: Line2D) -> Row:
    """Number of concepts, lowest point, whiskers, box and highest point."""
    quantiles = [row[name] for name in _QUANTILES]
    everything = [*quantiles, *np.asarray(beyond.get_xdata(), dtype="float64").tolist()]
    ends = min(everything), *quantiles, max(everything)
    return (count(row["n"]), *map(write, ends))


def _top(numbers: Summary) -> Listing:
    """Of each number of neurons, best and random ones: the median, and the middle half."""
    rows: list[Row] = [
        (
            count(point["k"]),
            top_label(source),
            count(row["n"]),
            with_interval(percent, row["median"], row["median_ci"]),
            interval(percent(row["p25"]), percent(row["p75"])),
        )
        for point in numbers["top"]["points"]
        for source in TOP_SOURCES
        if (row := point[source])["n"]
    ]
    heads = (say("Neurons"), say("Neurons edited"), say("Concepts"), say("Median [95 % interval]"))
    return _listing((*heads, say("Middle half")), rows, n_words=2)


def _shares_by_rank(figure: Figure, numbers: Summary) -> Listing:
    """The curves above, at ranks that are read off a logarithmic axis."""
    n_tokens = numbers["values"]["n_tokens"]
    decades = range(len(str(n_tokens)))
    marks = [step * 10**decade for decade in decades for step in (1, 2, 5)]
    curves = [line for line in figure.axes[0].lines if line.get_drawstyle() != "default"]
    rows = []
    for rank in [*(mark for mark in marks if mark < n_tokens), n_tokens]:
        shares = [_height(curve, rank) for curve in curves]
        rows.append((count(rank), *map(share, [*shares, rank / n_tokens])))
    labels = [str(curve.get_label()) for curve in curves]
    return _listing(
        (say("Rank, up to"), *labels, say("by chance")),
        rows,
        title=say("Numbers of the figure, above: share of neurons"),
    )


def _height(curve: Line2D, at: float) -> float:
    """Of a curve of steps, which begins at 0."""
    places, heights = map(np.asarray, curve.get_data())
    return float([0.0, *heights][np.searchsorted(places, at, side="right")])


def _ranks_by_layer(numbers: Summary) -> Listing:
    """The points and lines below."""
    found = numbers["values"]
    rows = [
        (str(layer), value_label(source), *map(count, (row["p25"], row["median"], row["p75"])))
        for layer, sources in found["by_layer"].items()
        for source in VALUE_SOURCES
        if (row := sources[source])["n_neurons"]
    ]
    chance = (count(None), count((found["n_tokens"] + 1) / 2), count(None))
    rows.append((say("all"), say("by chance"), *chance))
    heads = (say("Layer (0-based)"), say("Neurons"), f"25{GAP}%", say("Median"), f"75{GAP}%")
    title = say("Numbers of the figure, below: rank of the concept")
    return _listing(heads, rows, n_words=2, title=title)


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
