"""Neurons and residuals → neurons by layer, neurons per concept, error of completeness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from kn_lightning.report.canvas import LOOKS, PERCENT, legend, sheet
from kn_lightning.report.numerals import count, share

_MOST_BARS = 60
_FLOOR = 1e-9
_BINS_PER_DECADE = 5


def neurons_by_layer(title: str, numbers: dict[str, Any]) -> Figure:
    """Knowledge neurons of each layer: once a concept, and once each."""
    neurons = numbers["neurons"]
    places = np.arange(len(neurons["by_layer"]))
    figure, (axes,) = sheet(title, 3.8)
    own, second = LOOKS["own"], LOOKS["unrelated"]
    axes.bar(
        places - 0.2,
        neurons["by_layer"],
        0.38,
        color=own.color,
        label=f"once for every concept ({count(neurons['total'])})",
    )
    axes.bar(
        places + 0.2,
        neurons["distinct_by_layer"],
        0.38,
        color="white",
        edgecolor=second.color,
        hatch=second.hatch,
        label=f"distinct neurons ({count(neurons['distinct'])})",
    )
    axes.set_xlabel("layer (0-based, 0 is the lowest)")
    axes.set_ylabel("knowledge neurons")
    axes.xaxis.set_major_locator(MaxNLocator(13, integer=True, min_n_ticks=1))
    _whole_counts(axes)
    legend(figure, columns=2)
    return figure


def neurons_per_concept(title: str, numbers: dict[str, Any], sizes: pd.Series) -> Figure:
    """Concepts by their number of knowledge neurons; ``sizes`` holds one count a concept."""
    summary = numbers["neurons"]["per_concept"]
    width = max(1, -(-(int(sizes.max()) + 1) // _MOST_BARS))
    edges = np.arange(0, int(sizes.max()) + width + 1, width) - 0.5
    heights, _ = np.histogram(sizes, edges)
    figure, (axes,) = sheet(title, 3.8)
    axes.stairs(heights, edges, fill=True, facecolor=LOOKS["own"].color, edgecolor="white")
    for kind, name in (("random", "mean"), ("other", "median")):
        label = f"{name} {count(summary[name])}"
        axes.axvline(
            summary[name],
            color=LOOKS[kind].color,
            linestyle=LOOKS[kind].line,
            linewidth=2,
            label=label,
        )
    axes.set_xlabel("knowledge neurons of a concept" + (f" (bars of {width})" if width > 1 else ""))
    axes.set_ylabel("concepts")
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    _whole_counts(axes)
    legend(figure, columns=2)
    return figure


def completeness(title: str, numbers: dict[str, Any], residuals: pd.Series) -> Figure:
    """Relative residuals on a logarithmic axis; those too small for it are counted."""
    figure, (axes,) = sheet(title, 3.8)
    values = residuals.dropna()
    drawn = values[values >= _FLOOR]
    low = np.floor(np.log10(drawn.min())) if len(drawn) else -4.0
    high = max(np.ceil(np.log10(drawn.max())), low + 1) if len(drawn) else -1.0
    edges = np.logspace(low, high, int(high - low) * _BINS_PER_DECADE + 1)
    # Rounding of 10 ** x must not push the smallest or largest value out of its bin.
    edges[[0, -1]] *= (1 - 1e-12, 1 + 1e-12)
    heights, _ = np.histogram(drawn, edges)
    label = f"attributions ({count(len(values) - len(drawn))} below {_FLOOR:g}, not drawn)"
    axes.stairs(heights, edges, fill=True, facecolor=LOOKS["own"].color, label=label)
    tolerance = numbers["completeness"]["tolerance"]
    if tolerance:
        above = numbers["completeness"]["n_above_tolerance"]
        look = LOOKS["random"]
        axes.axvline(
            tolerance,
            color=look.color,
            linestyle="--",
            linewidth=2,
            label=f"tolerance {share(tolerance)}: {count(above)} beyond",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("|residual| relative to the prompt's largest |total|")
    axes.set_ylabel("attributions")
    _whole_counts(axes)
    legend(figure)
    return figure


def _whole_counts(axes: Axes) -> None:
    axes.set_ylim(0)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10], min_n_ticks=2))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: count(value)))
