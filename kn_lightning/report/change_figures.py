"""Changes of concepts → bars around "kitten", histograms and boxes by kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from kn_lightning.report.canvas import (
    LOOKS,
    OTHER_LOOK,
    PERCENT,
    Look,
    legend,
    sheet,
    shortened,
)
from kn_lightning.report.changes import change_values
from kn_lightning.report.effects import outside
from kn_lightning.report.numerals import count, percent, whole_percent
from kn_lightning.report.rankings import N_POS
from kn_lightning.report.wording import edit_label, kind_label

_LINEAR = 0.1
_LONGEST_BAR = 10.0
_CHANGE = "relative change of the answer's probability"
_ROOT_TICKS = [0, 1, 5, *(m * 10**power for power in range(1, 7) for m in (1, 2, 5))]
_SHOWN = ("own", "unrelated", "random")


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
    axes.set_xlabel(_CHANGE)
    legend(figure, columns=2)
    return figure


def _bar_value(axes: Axes, end: float, place: float, value: float) -> None:
    if np.isnan(value):
        axes.annotate(
            "not measured", (0, place), (4, 0), "data", "offset points", va="center", fontsize=9
        )
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


def histogram(title: str, numbers: dict[str, Any], changes: pd.DataFrame, edit: str) -> Figure:
    """Own, unrelated and random over each other; a square-root axis keeps low bars visible."""
    bins = numbers["histograms"][edit]
    figure, (axes,) = sheet(title, 4.4)
    edges = np.linspace(bins["low"], bins["high"], bins["bins"] + 1)
    for kind in _SHOWN:
        inside = bins["kinds"].get(kind)
        if inside is None:
            continue
        heights, _ = np.histogram(change_values(changes, edit, kind), edges)
        label = f"{kind_label(kind, numbers)} (n = {count(inside['n'])}{_outside(inside, bins)})"
        _outline(axes, heights, edges, LOOKS[kind], label, filled=kind == "own")
    axes.set_ylabel("concepts (square-root scale)")
    _root_scale(axes)
    _histogram_axis(axes, bins)
    legend(figure)
    return figure


def pos_histogram(
    title: str, numbers: dict[str, Any], changes: pd.DataFrame, edit: str, parts: pd.Series
) -> Figure:
    """Own changes, one panel a part of speech."""
    bins = numbers["histograms"][edit]
    edges = np.linspace(bins["low"], bins["high"], bins["bins"] + 1)
    own = change_values(changes, edit, "own")
    names = [row["pos"] for row in numbers["by_pos"][:N_POS]]
    figure, panels = sheet(title, 1.1 + 1.25 * len(names), rows=len(names))
    for axes, name in zip(panels, names, strict=True):
        here = parts[parts.isna() if name is None else parts == name].index
        values = own[own.index.isin(here)]
        below, above = outside(values, bins["low"], bins["high"])
        heights, _ = np.histogram(values, edges)
        _outline(axes, heights, edges, LOOKS["own"], "", filled=True)
        _histogram_axis(axes, bins)
        axes.set_ylim(0, max(1, heights.max()) * 1.08)
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=2))
        note = _outside({"below": below, "above": above}, bins)
        axes.set_title(
            f"{shortened(name or 'not given')} (n = {count(len(values))}{note})", fontsize=10
        )
        axes.tick_params(labelbottom=axes is panels[-1])
        axes.set_xlabel(_CHANGE if axes is panels[-1] else "")
    figure.supylabel("concepts", fontsize=10)
    return figure


def _outline(
    axes: Axes, heights: np.ndarray, edges: np.ndarray, look: Look, label: str, filled: bool
) -> None:
    if filled:
        axes.stairs(heights, edges, fill=True, facecolor=look.color, alpha=0.3)
    axes.stairs(heights, edges, color=look.color, linestyle=look.line, linewidth=1.8, label=label)


def _outside(inside: dict[str, int], bins: dict[str, Any]) -> str:
    low, high = whole_percent(bins["low"]), whole_percent(bins["high"])
    below = f"; {count(inside['below'])} below {low}" if inside["below"] else ""
    return f"{below}; {count(inside['above'])} above {high}"


def _root_scale(axes: Axes) -> None:
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axes.set_ylim(0)
    axes.yaxis.set_major_locator(FixedLocator(_ROOT_TICKS))


def _histogram_axis(axes: Axes, bins: dict[str, Any]) -> None:
    axes.set_xlim(bins["low"], bins["high"])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(_CHANGE)


def boxes_by_kind(title: str, numbers: dict[str, Any], changes: pd.DataFrame) -> Figure:
    """One panel an edit, one box a kind; all concepts are drawn."""
    edits = list(numbers["changes"])
    n_boxes = sum(len(kinds) for kinds in numbers["changes"].values())
    figure, panels = sheet(title, 0.8 + 0.75 * len(edits) + 0.5 * n_boxes, rows=len(edits))
    for axes, edit in zip(panels, edits, strict=True):
        _box_panel(axes, numbers, changes, edit)
    panels[-1].set_xlabel("relative change in % (linear within ±10 %, logarithmic beyond)")
    return figure


def _box_panel(axes: Axes, numbers: dict[str, Any], changes: pd.DataFrame, edit: str) -> None:
    kinds = [kind for kind, row in numbers["changes"][edit].items() if row["n"]]
    for place, kind in enumerate(kinds):
        row, look = numbers["changes"][edit][kind], LOOKS.get(kind, OTHER_LOOK)
        values = change_values(changes, edit, kind)
        beyond = values[(values < row["p05"]) | (values > row["p95"])].to_numpy()
        box = {"med": row["median"], "q1": row["p25"], "q3": row["p75"]}
        box |= {"whislo": row["p05"], "whishi": row["p95"], "fliers": beyond}
        axes.bxp(
            [box],
            positions=[place],
            orientation="horizontal",
            widths=0.55,
            patch_artist=True,
            boxprops={"facecolor": "white", "edgecolor": look.color, "hatch": look.hatch},
            medianprops={"color": "black", "linewidth": 2},
            whiskerprops={"color": look.color},
            capprops={"color": look.color},
            flierprops={"marker": look.marker, "markersize": 3.5, "markeredgecolor": look.color},
        )
    labels = [_two_lines(kind_label(kind, numbers)) for kind in kinds]
    axes.set_yticks(range(len(kinds)), labels)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_title(edit_label(edit), fontsize=10)
    everything = changes.loc[changes["edit"] == edit, "change"]
    _signed_log_axis(axes, float(everything.min()), float(everything.max()))


def _signed_log_axis(axes: Axes, low: float, high: float) -> None:
    """Linear within ±10 %, logarithmic beyond, ticks in percent."""
    axes.set_xscale("symlog", linthresh=_LINEAR, linscale=0.8)
    axes.set_xlim(1.3 * min(low, -_LINEAR), 1.3 * max(high, _LINEAR))
    decades = [10.0**power for power in range(8)]
    # Where the decades leave room: most studies lie between -100 and +100 %.
    between = [0.2, 0.5] if high < 2 else []
    ticks = [-1.0, -0.5, -0.2, -_LINEAR, -0.05, 0.0, 0.05, _LINEAR, *between, *decades]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _place: whole_percent(value)[:-2])


def _two_lines(label: str) -> str:
    return label.replace(", ", ",\n")
