"""The best neurons suppressed, by their number → one picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from kn_lightning.report.canvas import LOOKS, PERCENT, legend, sheet
from kn_lightning.report.language import say
from kn_lightning.report.numerals import count
from kn_lightning.report.top import SOURCES
from kn_lightning.report.top_wording import source_label

_LOOKS = {"top": LOOKS["own"], "top_random": LOOKS["random"]}


def top_curve(title: str, numbers: dict[str, Any]) -> Figure:
    """Median change by number of neurons with its interval and the middle half of concepts."""
    figure, (axes,) = sheet(title, 4.4)
    for source in SOURCES:
        look = _LOOKS[source]
        points = {p["k"]: p[source] for p in numbers["top"]["points"] if p[source]["n"]}
        if not points:
            continue
        sizes = list(points)
        medians = [point["median"] for point in points.values()]
        # Without an interval the band has no width there.
        limits = np.array([p["median_ci"] or [p["median"]] * 2 for p in points.values()])
        axes.fill_between(sizes, *limits.T, color=look.color, alpha=0.2, lw=0)
        low, high = np.array([(p["p25"], p["p75"]) for p in points.values()]).T
        axes.vlines(sizes, low, high, color=look.color, linewidth=1, alpha=0.6)
        axes.plot(
            sizes,
            medians,
            color=look.color,
            linestyle=look.line,
            marker=look.marker,
            markersize=5,
            label=source_label(source),
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([p["k"] for p in numbers["top"]["points"]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _place: count(round(value)))
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(say("suppressed neurons (logarithmic)"))
    axes.set_ylabel(say("median relative change"))
    legend(figure, columns=2)
    return figure
