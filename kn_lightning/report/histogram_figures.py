"""Changes of concepts → histograms: by kind, and by part of speech."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from kn_lightning.report.canvas import LOOKS, PERCENT, Look, legend, sheet
from kn_lightning.report.changes import change_values
from kn_lightning.report.comparisons import NOUN, REST
from kn_lightning.report.effects import SHOWN, outside
from kn_lightning.report.labels import kind_label, pos_label
from kn_lightning.report.language import say
from kn_lightning.report.numerals import count, whole_percent

_ROOT_TICKS = [0, 1, 5, *(m * 10**power for power in range(1, 7) for m in (1, 2, 5))]
_REST = "/".join(REST)
_POS_GROUPS = (NOUN, _REST, "other", None)


def histogram(title: str, numbers: dict[str, Any], changes: pd.DataFrame, edit: str) -> Figure:
    """Own, unrelated and random over each other; a square-root axis keeps low bars visible."""
    bins = numbers["histograms"][edit]
    figure, (axes,) = sheet(title, 4.4)
    edges = np.linspace(bins["low"], bins["high"], bins["bins"] + 1)
    for kind in SHOWN:
        inside = bins["kinds"].get(kind)
        if inside is None:
            continue
        heights, _ = np.histogram(change_values(changes, edit, kind), edges)
        label = _with_counts(kind_label(kind, numbers), inside, bins)
        _outline(axes, heights, edges, LOOKS[kind], label, filled=kind == "own")
    axes.set_ylabel(say("concepts (square-root scale)"))
    _root_scale(axes)
    _histogram_axis(axes, bins)
    legend(figure)
    return figure


def pos_histogram(
    title: str, numbers: dict[str, Any], changes: pd.DataFrame, edit: str, parts: pd.Series
) -> Figure:
    """Own changes, one panel a group of parts of speech.

    Args:
        title: Printed above.
        numbers: ``summary.json``.
        changes: From ``relative_changes``.
        edit: ``suppress`` or ``amplify``.
        parts: The part of speech of each concept, null where unknown.
    """
    bins = numbers["histograms"][edit]
    edges = np.linspace(bins["low"], bins["high"], bins["bins"] + 1)
    own = change_values(changes, edit, "own")
    groups = [_pos_group(part) for part in parts.reindex(own.index)]
    names = [name for name in _POS_GROUPS if name in groups]
    figure, panels = sheet(title, 1.1 + 1.25 * len(names), rows=len(names))
    for axes, name in zip(panels, names, strict=True):
        values = own[[group == name for group in groups]]
        below, above = outside(values, bins["low"], bins["high"])
        heights, _ = np.histogram(values, edges)
        _outline(axes, heights, edges, LOOKS["own"], "", filled=True)
        _histogram_axis(axes, bins)
        axes.set_ylim(0, max(1, heights.max()) * 1.08)
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=2))
        counts = {"n": len(values), "below": below, "above": above}
        axes.set_title(_with_counts(pos_label(name), counts, bins), fontsize=10)
        axes.tick_params(labelbottom=axes is panels[-1])
        if axes is not panels[-1]:
            axes.set_xlabel("")
    figure.supylabel(say("concepts"), fontsize=10)
    return figure


def _pos_group(part: Any) -> str | None:
    """The paper's grouping: nouns; verbs, adjectives and adverbs; other words."""
    if pd.isna(part):
        return None
    return NOUN if part == NOUN else _REST if part in (*REST, _REST) else "other"


def _outline(
    axes: Axes, heights: np.ndarray, edges: np.ndarray, look: Look, label: str, filled: bool
) -> None:
    if filled:
        axes.stairs(heights, edges, fill=True, facecolor=look.color, alpha=0.3)
    axes.stairs(heights, edges, color=look.color, linestyle=look.line, linewidth=1.8, label=label)


def _with_counts(label: str, counts: dict[str, int], bins: dict[str, Any]) -> str:
    """A label with its n and what lies outside the bins."""
    values = {key: count(counts[key]) for key in ("n", "below", "above")}
    values |= {"low": whole_percent(bins["low"]), "high": whole_percent(bins["high"])}
    if counts["below"]:
        return say(
            "{label} (n = {n}; {below} below {low}; {above} above {high})", label=label, **values
        )
    return say("{label} (n = {n}; {above} above {high})", label=label, **values)


def _root_scale(axes: Axes) -> None:
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axes.set_ylim(0)
    axes.yaxis.set_major_locator(FixedLocator(_ROOT_TICKS))


def _histogram_axis(axes: Axes, bins: dict[str, Any]) -> None:
    axes.set_xlim(bins["low"], bins["high"])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(say("relative change of the answer's probability"))
