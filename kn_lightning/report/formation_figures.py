"""Numbers of a formation study → its pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from kn_lightning.report.canvas import LOOKS, OTHER_LOOK, PERCENT, Look, legend, sheet
from kn_lightning.report.formation import ALL
from kn_lightning.report.formation_likeness import FOREIGN, LIKENESS
from kn_lightning.report.formation_timing import FIRST
from kn_lightning.report.statistics import MIN_N

Numbers = dict[str, Any]

_PARTS = dict(
    zip(
        ("noun", "verb", "adjective", "adverb", "other"),
        (LOOKS[name] for name in ("own", "unrelated", "other", "random", "activation")),
        strict=True,
    )
)
_LINES = ("-", "--", "-.", ":")
_STEP = "training step"
_LIKENESS = "Jaccard index with\nthose at the last step"


def curves(title: str, numbers: Numbers) -> Figure:
    """Probability, number of neurons and likeness to the last ones, all concepts."""
    figure, axes = sheet(title, 7.2, rows=3)
    found = numbers["curves"][ALL]
    own, other = LOOKS["own"], LOOKS["random"]
    _curve(axes[0], found["probability"], own, "mean over concepts, with its 95 % interval")
    _curve(axes[1], found["n_neurons"], own)
    _curve(axes[2], found[LIKENESS], own)
    _curve(axes[2], found[FOREIGN], other, "with other concepts' neurons at the last step")
    labels = (
        "probability",
        "knowledge neurons\nof a concept",
        _LIKENESS,
    )
    timing = numbers["timing"][ALL][FIRST]
    for axis, label, what in zip(axes, labels, ("probability", "neurons", "neurons"), strict=True):
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        middle = timing[what]["median"]
        if middle is not None:
            axis.axvline(
                middle,
                color="black",
                linewidth=0.8,
                linestyle=":",
                label="median step: half of the last is there" if axis is axes[0] else "",
            )
    axes[-1].set_xlabel(_STEP)
    legend(figure)
    return figure


def order(title: str, numbers: Numbers) -> Figure:
    """The share of concepts whose probability has risen, and whose neurons are there, by step."""
    figure, (axes,) = sheet(title, 3.6)
    timing = numbers["timing"][ALL][FIRST]
    looks = {"probability": LOOKS["unrelated"], "neurons": LOOKS["own"]}
    words = {
        "probability": "probability above half of its last",
        "neurons": "half of the last neurons are there",
    }
    for what, look in looks.items():
        axes.step(
            numbers["steps"],
            timing[what]["up_to"] or [np.nan] * len(numbers["steps"]),
            where="post",
            color=look.color,
            linestyle=look.line,
            label=f"{words[what]} ({timing[what]['n']:,} concepts)",
        )
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel("concepts, up to that step")
    axes.set_xlabel(_STEP)
    legend(figure)
    return figure


def layer_color(layer: int, n_layers: int) -> str:
    """Layers are ordered: shades from light (the lowest) to dark, beside lines that repeat."""
    shade = 0.8 * (1 - layer / max(1, n_layers - 1))
    return to_hex((shade * 0.9, 0.35 + 0.45 * shade, 0.6 + 0.3 * shade))


def by_layer(title: str, numbers: Numbers) -> Figure:
    """Neurons of a concept in each layer, how many of the last ones are there, and likeness."""
    figure, (above, middle, below) = sheet(title, 8.2, rows=3)
    layers = numbers["by_layer"]
    for number, layer in enumerate(layers):
        look = Look(layer_color(number, len(layers)), "", _LINES[number % 4], "")
        there = layer["last_ones_present"]
        _curve(above, layer["n_neurons"], look, f"layer {layer['layer']} ({there[-1]['n']:,})")
        if there[-1]["n"] >= MIN_N:
            _curve(middle, there, look)
            _curve(below, layer[LIKENESS], look)
    above.set_ylabel("knowledge neurons\nof a concept")
    middle.set_ylabel("of those at the last step\nare there")
    middle.yaxis.set_major_formatter(PERCENT)
    below.set_ylabel(_LIKENESS)
    for axis in (middle, below):
        axis.set_ylim(0, 1.02)
    above.set_ylim(bottom=0)
    below.set_xlabel(_STEP)
    legend(figure, columns=min(4, len(layers)))
    return figure


def by_pos(title: str, numbers: Numbers) -> Figure:
    """Probability and likeness to the last neurons, by part of speech."""
    figure, (above, below) = sheet(title, 6.0, rows=2)
    for part, found in numbers["curves"].items():
        if part == ALL:
            continue
        look = _PARTS.get(part, OTHER_LOOK)
        label = f"{part} ({found['probability'][0]['n']:,})"
        _curve(above, found["probability"], look, label)
        _curve(below, found[LIKENESS], look)
    above.set_ylabel("probability")
    below.set_ylabel(_LIKENESS)
    for axis in (above, below):
        axis.set_ylim(bottom=0)
    below.set_xlabel(_STEP)
    legend(figure, columns=2)
    return figure


def _curve(axes: Axes, points: list[Numbers], look: Look, label: str = "") -> None:
    """Means with their intervals as a band; a step without a value leaves a gap."""
    steps = [point["step"] for point in points]
    mean = np.array([point["mean"] for point in points], dtype=float)
    ends = np.array([point["interval"] or (np.nan, np.nan) for point in points], dtype=float)
    axes.fill_between(steps, ends[:, 0], ends[:, 1], color=look.color, alpha=0.2, linewidth=0)
    axes.plot(steps, mean, color=look.color, linestyle=look.line, label=label)
