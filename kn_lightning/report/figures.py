"""Frames and summary → the pictures of the report, in the order in which it shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from kn_lightning.report import (
    agreement_figures,
    change_figures,
    histogram_figures,
    neuron_figures,
    top_figures,
    value_figures,
    weight_figures,
)
from kn_lightning.report.canvas import style, svg_and_png
from kn_lightning.report.caption import Caption
from kn_lightning.report.captions import captions
from kn_lightning.report.changes import Changes
from kn_lightning.report.consistency import by_concept
from kn_lightning.report.figure_listings import figure_listings
from kn_lightning.report.listing import Listing
from kn_lightning.report.rankings import concept_pos
from kn_lightning.report.summary import neurons_per_concept, relative_residuals
from kn_lightning.report.tables import RunTables
from kn_lightning.run_names import FIGURES


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn figure with its words, and its numbers where no table of the report has all.

    ``name`` is its file name without suffix.
    """

    name: str
    caption: Caption
    svg: bytes
    png: bytes
    numbers: tuple[Listing, ...] = ()


def pictures(tables: RunTables, measured: Changes, numbers: dict[str, Any]) -> list[Picture]:
    """All figures that the run has data for, drawn."""
    words = captions(numbers)
    drawn = []
    with style():
        for name in FIGURES:
            if name in words:
                figure = _figure(name, words[name].title, tables, measured, numbers)
                found = figure_listings(name, figure, numbers)
                drawn.append(Picture(name, words[name], *svg_and_png(figure), found))
    return drawn


def _figure(
    name: str, title: str, tables: RunTables, measured: Changes, numbers: dict[str, Any]
) -> Figure:
    changes = measured.concepts
    edit, _, what = name.partition("_")
    match what if edit in ("suppress", "amplify") else name:
        case "concepts":
            return change_figures.concept_bars(title, numbers, edit)
        case "histogram":
            return histogram_figures.histogram(title, numbers, changes, edit)
        case "by_pos":
            parts = concept_pos(tables.prompts)
            return histogram_figures.pos_histogram(title, numbers, changes, edit, parts)
        case "change_by_kind":
            return change_figures.boxes_by_kind(title, numbers, changes)
        case "dose_curve":
            return change_figures.dose_curve(title, numbers)
        case "top_curve":
            return top_figures.top_curve(title, numbers)
        case "weight_edits":
            return weight_figures.weight_edits(title, numbers)
    return _neuron_figure(name, title, tables, numbers)


def _neuron_figure(name: str, title: str, tables: RunTables, numbers: dict[str, Any]) -> Figure:
    match name:
        case "neurons_by_layer":
            return neuron_figures.neurons_by_layer(title, numbers)
        case "neurons_per_concept":
            return neuron_figures.neurons_per_concept(title, numbers, neurons_per_concept(tables))
        case "consistency":
            return neuron_figures.consistency(title, numbers, by_concept(tables))
        case "overlap":
            return neuron_figures.overlap(title, numbers)
        case "values":
            return value_figures.values(title, numbers, tables)
        case "agreement":
            return agreement_figures.agreement(title, numbers, tables)
        case "completeness":
            return neuron_figures.completeness(title, numbers, relative_residuals(tables))
    raise ValueError(f"no figure is called {name!r}: add it here")
