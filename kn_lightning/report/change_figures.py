"""Changes of concepts → bars around "kitten", boxes by kind, dose curve."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from kn_lightning.report.canvas import (
    LOOKS,
    OTHER_LOOK,
    PERCENT,
    box,
    legend,
    sheet,
    shortened,
)
from kn_lightning.report.changes import change_values
from kn_lightning.report.labels import edit_label, kind_label, main_edits
from kn_lightning.report.language import say
from kn_lightning.report.numerals import percent, whole_percent

_LINEAR = 0.1
_LONGEST_BAR = 10.0


def concept_bars(title: str, numbers: dict[str, Any], edit: str) -> Figure:
    """The window around "kitten": own and unrelated prompts side by side."""
    window = numbers["window"][edit]
    figure, (axes,) = sheet(title, 1.5 + 0.38 * len(window))
    places = np.arange(len(window))
    for offset, kind in ((-0.2, "own"), (0.2, "unrelated")):
        values = np.array([np.nan if row[kind] is None else row[kind] for row in window])
        drawn = np.minimum(values, _LONGEST_BAR)
        look = LOOKS[kind]
        axes.barh(
            places + offset,
            drawn,
            height=0.38,
            color=look.color if kind == "own" else "white",
            edgecolor=look.color,
            hatch=look.hatch,
            label=kind_label(kind, numbers),
        )
        for place, end, value in zip(places + offset, drawn, values, strict=True):
            _bar_value(axes, end, place, value)
    axes.set_yticks(places, [shortened(row["concept"]) for row in window])
    axes.set_ylim(len(window) - 0.45, -0.55)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.margins(x=0.21)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(say("relative change of the answer's probability"))
    legend(figure, columns=2)
    return figure


def _bar_value(axes: Axes, end: float, place: float, value: float) -> None:
    if np.isnan(value):
        text = say("not measured")
        axes.annotate(text, (0, place), (4, 0), "data", "offset points", va="center", fontsize=9)
        return
    side = -1 if value < 0 else 1
    arrow = "→ " if value > end else ""
    axes.annotate(
        f"{arrow}{percent(value)}",
        (end, place),
        (3 * side, 0),
        "data",
        "offset points",
        ha="right" if side < 0 else "left",
        va="center",
        fontsize=9,
    )


def boxes_by_kind(title: str, numbers: dict[str, Any], changes: pd.DataFrame) -> Figure:
    """One panel an edit, one box a kind; all concepts are drawn."""
    edits = main_edits(numbers)
    n_boxes = sum(len(numbers["changes"][edit]) for edit in edits)
    figure, panels = sheet(title, 0.8 + 0.75 * len(edits) + 0.5 * n_boxes, rows=len(edits))
    for axes, edit in zip(panels, edits, strict=True):
        _box_panel(axes, numbers, changes, edit)
    label = say("relative change in % (linear within ±10 %, logarithmic beyond)")
    panels[-1].set_xlabel(label, loc="right")  # may be wider than the panel
    return figure


def _box_panel(axes: Axes, numbers: dict[str, Any], changes: pd.DataFrame, edit: str) -> None:
    kinds = [kind for kind, row in numbers["changes"][edit].items() if row["n"]]
    for place, kind in enumerate(kinds):
        row, look = numbers["changes"][edit][kind], LOOKS.get(kind, OTHER_LOOK)
        values = change_values(changes, edit, kind)
        box(axes, row, values, look, place, 0.55)
    labels = [_two_lines(kind_label(kind, numbers)) for kind in kinds]
    axes.set_yticks(range(len(kinds)), labels)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_title(edit_label(edit), fontsize=10)
    everything = changes.loc[changes["edit"] == edit, "change"]
    low, high = float(everything.min()), float(everything.max())
    axes.set_xscale("symlog", linthresh=_LINEAR, linscale=0.8)
    axes.set_xlim(1.3 * min(low, -_LINEAR), 1.3 * max(high, _LINEAR))
    _signed_log_ticks(axes.xaxis, fine=high < 2)


def dose_curve(title: str, numbers: dict[str, Any]) -> Figure:
    """Median change by factor with its interval, one line a kind."""
    figure, (axes,) = sheet(title, 4.8)
    everything = [-_LINEAR, _LINEAR]
    for kind, points in numbers["doses"].items():
        look = LOOKS.get(kind, OTHER_LOOK)
        curve = {point["factor"]: (point["median"], point["median_ci"]) for point in points}
        factors = sorted(curve)
        medians = [curve[factor][0] for factor in factors]
        # Without an interval the band has no width there.
        limits = np.array([curve[factor][1] or [curve[factor][0]] * 2 for factor in factors])
        low, high = limits.T
        axes.fill_between(factors, low, high, color=look.color, alpha=0.2, lw=0)
        axes.plot(
            factors,
            medians,
            color=look.color,
            linestyle=look.line,
            marker=look.marker,
            markersize=5,
            label=kind_label(kind, numbers),
        )
        everything += [*low.tolist(), *high.tolist(), *medians]
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel(say("factor of the activations (dotted: 1, nothing is edited)"))
    axes.set_ylabel(say("median relative change in %"))
    axes.set_yscale("symlog", linthresh=_LINEAR, linscale=0.8)
    axes.set_ylim(1.3 * min(everything), 1.3 * max(everything))
    # Numbers above each other need less room than those beside each other.
    _signed_log_ticks(axes.yaxis, fine=max(everything) < 10)
    legend(figure, columns=2)
    return figure


def _signed_log_ticks(axis: Axis, fine: bool) -> None:
    """Ticks in percent of an axis that is linear within ±10 % and logarithmic beyond.

    ``fine`` where the decades leave room for ticks between them: if the highest value is low.
    """
    decades = [10.0**power for power in range(8)]
    between = [0.2, 0.5] if fine else []
    lower = [-1.0, *(-tick for tick in between or [0.3]), -_LINEAR, -0.05]
    ticks = [*lower, 0.0, 0.05, _LINEAR, *between, *decades]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _place: whole_percent(value)[:-2])


def _two_lines(label: str) -> str:
    """A label that would take too much of the figure's width."""
    return re.sub(r"(, |、)", r"\1\n", label)
