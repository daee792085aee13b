"""Neurons and residuals → neurons by layer and per concept, likeness, error of completeness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from kn_lightning.report.canvas import LOOKS, PERCENT, legend, sheet
from kn_lightning.report.labels import concepts
from kn_lightning.report.language import say
from kn_lightning.report.numerals import count, number, share, whole_percent

_MOST_BARS = 60
_FLOOR = 1e-9
_BINS_PER_DECADE = 5
_JACCARD_BINS = 25


def neurons_by_layer(title: str, numbers: dict[str, Any]) -> Figure:
    """Knowledge neurons of each layer: once a concept, once each, and as published."""
    neurons, published = numbers["neurons"], numbers["published"]
    series = [
        (
            "own",
            np.array(neurons["by_layer"]),
            say("once for every concept ({n})", n=count(neurons["total"])),
        ),
        (
            "unrelated",
            np.array(neurons["distinct_by_layer"]),
            say("distinct neurons ({n})", n=count(neurons["distinct"])),
        ),
    ]
    if published:
        scale = neurons["per_concept_with_neurons"]["n"] / published["concepts"]
        label = say(
            "published: {concepts}, scaled (× {scale})",
            concepts=concepts(published["concepts"]),
            scale=number(scale),
        )
        series.append(("other", scale * np.array(published["by_layer"]), label))
    figure, (axes,) = sheet(title, 3.8)
    width = 0.78 / len(series)
    for place, (kind, heights, label) in enumerate(series):
        look = LOOKS[kind]
        axes.bar(
            np.arange(len(heights)) + (place - (len(series) - 1) / 2) * width,
            heights,
            width,
            color="white" if look.hatch else look.color,
            edgecolor=look.color,
            hatch=look.hatch,
            label=label,
        )
    axes.set_xlabel(say("layer (0-based, 0 is the lowest)"))
    axes.set_ylabel(say("knowledge neurons"))
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
    _line(axes, "random", summary["mean"], say("mean {value}", value=count(summary["mean"])))
    _line(axes, "other", summary["median"], say("median {value}", value=count(summary["median"])))
    axes.set_xlabel(
        say("knowledge neurons of a concept (bars of {width})", width=width)
        if width > 1
        else say("knowledge neurons of a concept")
    )
    axes.set_ylabel(say("concepts"))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    _whole_counts(axes)
    legend(figure, columns=2)
    return figure


def _line(axes: Axes, kind: str, value: float, label: str) -> None:
    """A value across the figure, in the look of a kind."""
    look = LOOKS[kind]
    axes.axvline(value, color=look.color, linestyle=look.line, linewidth=2, label=label)


def consistency(title: str, numbers: dict[str, Any], values: pd.Series) -> Figure:
    """Concepts by the mean Jaccard index of their prompts; ``values`` holds one a concept."""
    found = numbers["consistency"]
    figure, (axes,) = sheet(title, 3.8)
    heights, edges = np.histogram(values.dropna(), np.linspace(0, 1, _JACCARD_BINS + 1))
    axes.stairs(heights, edges, fill=True, facecolor=LOOKS["own"].color, edgecolor="white")
    _line(
        axes, "random", found["mean"], say("one concept: mean {value}", value=number(found["mean"]))
    )
    if found["random_expectation"] is not None:
        label = say("two concepts: mean {value}", value=number(found["random_expectation"]))
        _line(axes, "unrelated", found["random_expectation"], label)
    axes.set_xlim(0, 1)
    axes.set_xlabel(say("mean Jaccard index of the coarse neurons of two prompts"))
    axes.set_ylabel(say("concepts"))
    _whole_counts(axes)
    legend(figure, columns=2)
    return figure


def overlap(title: str, numbers: dict[str, Any]) -> Figure:
    """Neurons by the number of concepts that they serve, both axes logarithmic."""
    places, heights = zip(*numbers["overlap"]["neurons_by_n_concepts"], strict=True)
    look = LOOKS["own"]
    figure, (axes,) = sheet(title, 3.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.vlines(places, 0.7, heights, color=look.color, linewidth=1.5, alpha=0.4)
    axes.plot(places, heights, linestyle="", marker=look.marker, color=look.color)
    axes.set_ylim(0.7)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _place: count(value)))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(say("concepts that a neuron serves"))
    axes.set_ylabel(say("neurons"))
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
    missing = count(len(values) - len(drawn))
    floor = whole_percent(_FLOOR)
    label = say("attributions ({n} below {floor}, not drawn)", n=missing, floor=floor)
    axes.stairs(heights, edges, fill=True, facecolor=LOOKS["own"].color, label=label)
    tolerance = numbers["completeness"]["tolerance"]
    if tolerance:
        above = count(numbers["completeness"]["n_above_tolerance"])
        label = say("tolerance {value}: {n} beyond", value=share(tolerance), n=above)
        _line(axes, "unrelated", tolerance, label)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(say("|residual| relative to the prompt's largest |total|"))
    axes.set_ylabel(say("attributions"))
    _whole_counts(axes)
    legend(figure)
    return figure


def _whole_counts(axes: Axes) -> None:
    axes.set_ylim(0)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10], min_n_ticks=2))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: count(value)))
