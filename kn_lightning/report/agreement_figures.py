"""Agreement of attributions → boxes: one panel for shared neurons, one for ranks."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kn_lightning.report.agreement import by_concept
from kn_lightning.report.agreement_wording import attribution_label, measure_label
from kn_lightning.report.canvas import LOOKS, PERCENT, box, legend, sheet
from kn_lightning.report.language import say
from kn_lightning.report.tables import RunTables

PANELS = (("overlap_10", "overlap_coarse"), ("spearman_candidates", "spearman"))
_KINDS = {
    "overlap_10": "own",
    "overlap_coarse": "unrelated",
    "spearman_candidates": "other",
    "spearman": "activation",
}
"""Whose look each measure has."""


def agreement(title: str, numbers: dict[str, Any], tables: RunTables) -> Figure:
    """One box a compared attribution and measure; all concepts are drawn."""
    found = numbers["agreement"]
    figure, panels = sheet(title, 2.4 + 1.5 * len(found), rows=2)
    for axes, measures in zip(panels, PANELS, strict=True):
        for offset, measure in zip((-0.2, 0.2), measures, strict=True):
            label = measure_label(measure)  # in the legend once
            for place, (name, row) in enumerate(found.items()):
                if row["measures"][measure]["n"]:
                    values = by_concept(tables, name, measure)
                    look = LOOKS[_KINDS[measure]]
                    box(axes, row["measures"][measure], values, look, place + offset, 0.32, label)
                    label = ""
        axes.set_yticks(range(len(found)), [_two_lines(name) for name in found])
        axes.set_ylim(len(found) - 0.45, -0.55)
        axes.grid(axis="y", visible=False)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    panels[0].set_xlim(-0.03, 1.03)
    panels[0].xaxis.set_major_formatter(PERCENT)
    panels[0].set_xlabel(say("shared neurons"))
    panels[1].set_xlim(min(panels[1].dataLim.x0, 0.0) - 0.03, 1.03)
    panels[1].set_xlabel(say("Spearman's rank correlation"))
    legend(figure, columns=2)
    return figure


def _two_lines(name: str) -> str:
    """A label that would take too much of the figure's width."""
    return attribution_label(name).replace(" ", "\n", 1)
