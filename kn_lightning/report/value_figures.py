"""Ranks of concepts among what value vectors promote → one picture: all neurons, and by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kn_lightning.report.canvas import LOOKS, PERCENT, legend, sheet
from kn_lightning.report.language import say
from kn_lightning.report.numerals import count
from kn_lightning.report.tables import RunTables
from kn_lightning.report.value_wording import source_label
from kn_lightning.report.values import SOURCES, ranks

_LOOKS = {"knowledge": LOOKS["own"], "random": LOOKS["random"]}
_CHANCE: dict[str, Any] = {"color": "black", "linewidth": 0.8, "linestyle": "-."}
_RANK = FuncFormatter(lambda value, _place: count(value))


def values(title: str, numbers: dict[str, Any], tables: RunTables) -> Figure:
    """Above: the share of neurons up to each rank; below: medians and middle halves by layer."""
    assert tables.values is not None
    found = numbers["values"]
    figure, (above, below) = sheet(title, 6.2, rows=2)
    rows = ranks(tables.values)
    n_tokens = found["n_tokens"]
    even = np.geomspace(1, n_tokens, 200)
    for source in SOURCES:
        look, own = _LOOKS[source], np.sort(rows.loc[rows["source"] == source, "rank"])
        if len(own):
            above.ecdf(own, color=look.color, linestyle=look.line, label=source_label(source))
    above.plot(even, even / n_tokens, **_CHANCE, label=say("by chance"))
    above.set_xscale("log")
    above.set_xlim(0.9, n_tokens * 1.1)
    above.set_ylim(0, 1.02)
    above.xaxis.set_major_formatter(_RANK)
    above.yaxis.set_major_formatter(PERCENT)
    above.set_xlabel(say("rank of the concept among the promoted tokens"))
    above.set_ylabel(say("neurons up to there"))
    _by_layer(below, found)
    legend(figure, columns=2)
    return figure


def _by_layer(axes: Axes, found: dict[str, Any]) -> None:
    for source, shift in zip(SOURCES, (-0.12, 0.12), strict=True):
        layers = {int(layer): part[source] for layer, part in found["by_layer"].items()}
        layers = {layer: part for layer, part in layers.items() if part["n_neurons"]}
        middle = np.array([part["median"] for part in layers.values()])
        ends = np.array([(part["p25"], part["p75"]) for part in layers.values()]).reshape(-1, 2)
        look, places = _LOOKS[source], np.array([*layers]) + shift
        axes.vlines(places, ends[:, 0], ends[:, 1], color=look.color, linewidth=2, alpha=0.6)
        axes.plot(
            places,
            middle,
            color=look.color,
            marker=look.marker,
            markerfacecolor=look.color if source == "knowledge" else "white",
            linestyle="none",
        )
    axes.axhline((found["n_tokens"] + 1) / 2, **_CHANCE)
    axes.set_yscale("log")
    axes.set_ylim(found["n_tokens"] * 1.3, 0.8)  # the best rank above
    axes.yaxis.set_major_formatter(_RANK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(say("layer (0-based, 0 is the lowest)"))
    axes.set_ylabel(say("rank of the concept"))
