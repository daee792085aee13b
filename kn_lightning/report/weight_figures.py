"""Weight edits in ``summary.json`` → one picture of their reliability, generality and locality."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from kn_lightning.report.canvas import LOOKS, PERCENT, Look, sheet
from kn_lightning.report.language import say
from kn_lightning.report.numerals import whole_percent
from kn_lightning.report.weight_wording import aspect_label, source_label, weight_label

_LINEAR = 0.1
_LOOKS = {"knowledge": LOOKS["own"], "random": LOOKS["random"]}
_SHIFT = {"knowledge": -0.14, "random": 0.14}
"""The two sources lie side by side on the row of their aspect."""


def weight_edits(title: str, numbers: dict[str, Any]) -> Figure:
    """One row of panels an edit: change of the probability, first guesses as intended."""
    edits = {edit: found for edit, found in numbers["weight_edits"].items() if found}
    n_rows = sum(len(found["knowledge"]) for found in edits.values())
    height = 1.5 + 0.35 * len(edits) + 0.36 * n_rows
    figure, panels = sheet(title, height, rows=len(edits), columns=2)
    pairs = zip(panels[::2], panels[1::2], strict=True)
    for (left, right), (edit, found) in zip(pairs, edits.items(), strict=True):
        for source, aspects in found.items():
            _points(left, source, [row["change"] for row in aspects.values()], "median")
            _points(right, source, [row["as_intended"] for row in aspects.values()], "mean")
        labels = [aspect_label(aspect, numbers) for aspect in found["knowledge"]]
        left.set_title(weight_label(edit), fontsize=10)
        left.axvline(0, color="black", linewidth=0.8)
        for axes in (left, right):
            axes.set_yticks(range(len(labels)), labels)
            axes.set_ylim(len(labels) - 0.5, -0.5)
            axes.grid(axis="y", visible=False)
        right.tick_params(labelleft=False)
        right.set_xlim(-0.04, 1.04)
        right.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        right.xaxis.set_major_formatter(PERCENT)
        _signed_log(left, edits)
    panels[-2].set_xlabel(say("change of P in % (median)"))
    panels[-1].set_xlabel(say("first guesses as intended (mean)"))
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower left", ncols=2)
    return figure


def _points(axes: Axes, source: str, rows: list[dict[str, Any]], statistic: str) -> None:
    """One point an aspect with its interval as a line; what has no value is left out."""
    look: Look = _LOOKS[source]
    for place, row in enumerate(rows):
        value = row[statistic]
        if value is None:
            continue
        low, high = row[f"{statistic}_ci"] or (value, value)
        axes.plot(
            [value],
            [place + _SHIFT[source]],
            color=look.color,
            marker=look.marker,
            markersize=6,
            markerfacecolor=look.color if source == "knowledge" else "white",
            linestyle="none",
            label=source_label(source) if place == 0 else None,
        )
        axes.plot([low, high], [place + _SHIFT[source]] * 2, color=look.color, linewidth=1.5)


def _signed_log(axes: Axes, edits: dict[str, Any]) -> None:
    """An axis in percent, linear within ±10 % and logarithmic beyond, the same for all edits."""
    rows = [
        row["change"]
        for found in edits.values()
        for aspects in found.values()
        for row in aspects.values()
    ]
    ends = [end for row in rows for end in (row["median"], *(row["median_ci"] or ()))]
    everything = np.array([end for end in ends if end is not None] or [0.0])
    axes.set_xscale("symlog", linthresh=_LINEAR, linscale=0.8)
    axes.set_xlim(1.4 * min(everything.min(), -_LINEAR), 1.4 * max(everything.max(), _LINEAR))
    axes.xaxis.set_major_locator(FixedLocator([-1, -_LINEAR, 0, _LINEAR, 1, 10, 100, 1000]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _place: whole_percent(value)[:-2])
