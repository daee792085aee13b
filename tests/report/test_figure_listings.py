"""The numbers of figures as tables, against the run's."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch

from kn_lightning import run_names
from kn_lightning.report import figures
from kn_lightning.report.changes import measured_changes
from kn_lightning.report.numerals import GAP, count, number, percent, share, whole_percent
from kn_lightning.report.summary import PUBLISHED
from kn_lightning.report.tables import RunTables, run_tables

from .rich import WEIGHTS
from .runs import plain

IN_TABLES = {"dose_curve": "doses", "weight_edits": "weight_edits"}
"""Figures whose numbers stand in a table of the report."""
HISTOGRAMS = {
    *(f"{edit}_{what}" for edit in ("suppress", "amplify") for what in ("histogram", "by_pos")),
    *("neurons_per_concept", "consistency", "completeness"),
}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HEADS = ["Concepts", "Lowest", *(f"{at}{GAP}%" for at in (5, 25)), "Median"]
HEADS += [*(f"{at}{GAP}%" for at in (75, 95)), "Highest"]
"""Of a table of boxes."""
IN_ITS_WORDS = {"overlap"}
"""Figures whose alternative text has all of them."""


def rows_of(page: str, name: str) -> list[list[str]]:
    """A table of the page, its head first."""
    (part,) = re.findall(rf'id="table-{name}">.*?</table>', page, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL)
    return [
        [unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows
    ]


@pytest.fixture(scope="module")
def page(rich_run: Path) -> str:
    """The report."""
    return (rich_run / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def frames(rich_run: Path) -> RunTables:
    """The tables behind the report."""
    return run_tables(rich_run)


@pytest.fixture(scope="module")
def figures_drawn(frames: RunTables, rich_numbers: dict[str, Any]) -> dict[str, Figure]:
    """Each figure by its name, as the report draws it."""
    measured = measured_changes(frames.edits, frames.neurons)
    drawn: list[Figure] = []

    def kept(figure: Figure) -> tuple[bytes, bytes]:
        drawn.append(figure)
        return b"", b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "svg_and_png", kept)
        pictures = figures.pictures(frames, measured, rich_numbers)
    return {picture.name: one for picture, one in zip(pictures, drawn, strict=True)}


def values_of(axes: Axes, axis: int) -> list[float]:
    """Every number that is drawn along an axis (0: x, 1: y), but not lines across the whole panel.

    Of points beyond the whiskers of a box the two at the ends.
    """
    found: list[float] = []
    for line in axes.lines:
        if line.get_transform() == axes.transData and line.get_drawstyle() == "default":
            own = np.asarray(line.get_data()[axis], dtype="float64")
            is_beyond = line.get_linestyle() == "None" and axis == 0 and len(own) > 1
            found += [own.min(), own.max()] if is_beyond else own.tolist()
    for patch in axes.patches:
        if isinstance(patch, StepPatch):
            found += [height for height in patch.get_data()[0].tolist() if height]
        elif isinstance(patch, Rectangle):
            found.append(patch.get_height() if axis else patch.get_width())
        else:  # a box
            found += patch.get_path().vertices[:4, axis].tolist()
    for collection in axes.collections:  # lines, or a band
        for path in collection.get_paths():
            found += path.vertices[:, axis].tolist()
    return found


UNSAID = {"dose_curve": 0.0, "overlap": 0.7}
"""Where nothing is edited, which the caption says; where lines of a logarithmic axis begin."""
FIGURES: dict[str, list[tuple[int, Callable[[float], str]]]] = {
    # Of each panel (the last holds for all further ones) the axis, and how its numbers are written.
    "change_by_kind": [(0, percent)],
    "suppress_histogram": [(1, count)],
    "amplify_histogram": [(1, count)],
    "suppress_by_pos": [(1, count)],
    "amplify_by_pos": [(1, count)],
    "dose_curve": [(1, percent)],
    "top_curve": [(1, percent)],
    "weight_edits": [(0, percent), (0, share)] * len(WEIGHTS),
    "suppress_concepts": [(0, percent)],
    "amplify_concepts": [(0, percent)],
    "neurons_by_layer": [(1, lambda value: count(round(value)))],
    "neurons_per_concept": [(1, count)],
    "consistency": [(1, count)],
    "completeness": [(1, count)],
    "overlap": [(1, count)],
    "values": [(1, count)],  # below; above it has a curve
    "agreement": [(0, share), (0, number)],
}


@pytest.mark.parametrize("name", run_names.FIGURES)
def test_every_number_that_is_drawn_is_in_text(
    page: str, figures_drawn: dict[str, Figure], name: str
) -> None:
    tables = re.findall(rf'id="table-((?:of-{name}(?:-\d)?)|{IN_TABLES.get(name, "-")})">', page)
    texts = [cell for table in tables for row in rows_of(page, table) for cell in row]
    if name in IN_ITS_WORDS:
        (alt,) = re.findall(rf'id="figure-{name}".*?alt="(.*?)"', page, re.DOTALL)
        texts.append(unescape(alt))
    assert texts
    written = {token for text in texts for token in re.findall(r"[−+]?[\d,.]*\d", text)}
    panels = figures_drawn[name].axes
    for place, axes in enumerate(panels[1:] if name == "values" else panels):
        axis, write = FIGURES[name][min(place, len(FIGURES[name]) - 1)]
        values = {*values_of(axes, axis)} - {UNSAID.get(name)}
        assert values
        missing = {write(value).removesuffix(f"{GAP}%") for value in values} - written
        assert missing == set(), f"{name}, panel {place}"


def spread(write: Callable[[float], str], values: Any) -> list[str]:
    """What a box says of values: how many, the ends, whiskers, quartiles and median."""
    return [count(len(values)), *(write(np.quantile(values, at)) for at in (0, *QUANTILES, 1))]


def test_boxes_of_changes_are_those_of_the_concepts(page: str, frames: RunTables) -> None:
    rows = rows_of(page, "of-change_by_kind")
    assert rows[0][2:] == HEADS
    known = frames.edits[frames.edits["concept"].isin(frames.neurons["concept"])]
    own = known[(known["neurons"] == "knowledge") & (known["prompt_kind"] == "related")]
    by = ["edit", "concept"]
    means = own.groupby(by, observed=True)[["probability_before", "probability_after"]].mean()
    change = means["probability_after"] / means["probability_before"] - 1
    for edit, label in (("suppress", "suppress (× 0)"), ("amplify", "amplify (× 2)")):
        (row,) = [row for row in rows if [*map(plain, row[:2])] == [label, "own prompts"]]
        assert row[2:] == spread(percent, change[edit])
    assert len(rows) == 1 + 2 * 7


@pytest.mark.parametrize(
    ("measure", "label", "write"),
    [
        ("overlap_10", "shared, of the 10 best", share),
        ("spearman_candidates", "rank correlation, the best of either", number),
    ],
)
def test_boxes_of_agreement_are_those_of_the_concepts(
    page: str, frames: RunTables, measure: str, label: str, write: Callable[[float], str]
) -> None:
    head, *rows = rows_of(page, "of-agreement")
    assert head[2:] == HEADS
    for name, said in (("activation", "activation"), ("ablation", "exact ablation")):
        own = frames.agreement[frames.agreement["attribution"] == name]
        means = own.groupby(own["prompt_id"].str.split("/").str[0])[measure].mean()
        (row,) = [row for row in rows if row[:2] == [label, said]]
        assert row[2:] == spread(write, means)
    assert len(rows) == 4 * 3 - 1  # ablation has no ranks over all neurons


def test_curve_of_ranks_is_that_of_the_neurons(page: str, frames: RunTables) -> None:
    head, *rows = rows_of(page, "of-values")
    assert head[1:] == ["the concept's neurons", "random neurons of the same layers", "by chance"]
    assert frames.values is not None
    is_own = frames.values["neurons"] == "knowledge"
    own, random = frames.values[is_own]["rank"], frames.values[~is_own]["rank"]
    marks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 2100]
    assert rows == [
        [count(at), share((own <= at).mean()), share((random <= at).mean()), share(at / 2100)]
        for at in marks
    ]


def test_ranks_by_layer_are_those_of_the_neurons(page: str, frames: RunTables) -> None:
    head, *rows = rows_of(page, "of-values-2")
    assert [*map(plain, head[2:])] == ["25 %", "Median", "75 %"]
    assert frames.values is not None
    own = frames.values[(frames.values["neurons"] == "knowledge") & (frames.values["layer"] == 6)]
    median = own.groupby("concept", observed=True)["rank"].median().median()
    low, high = np.quantile(own["rank"], [0.25, 0.75])
    assert ["6", "the concept's neurons", count(low), count(median), count(high)] in rows
    assert rows[-1] == ["all", "by chance", "–", "1,050.5", "–"]


def test_best_and_random_neurons_have_their_middle_half(page: str, frames: RunTables) -> None:
    _, *rows = rows_of(page, "of-top_curve")
    assert len(rows) == 2 * 3
    means = frames.top.groupby(["k", "concept", "source"], observed=True)["probability_after"]
    change = means.mean().unstack() / 0.4 - 1  # 0.4 before, of all prompts
    random = change.loc[5, ["top_random:0", "top_random:1"]].mean(axis=1)
    for name, values in (
        ("the concept's best neurons", change.loc[5, "top"]),
        ("random neurons of the same layers", random),
    ):
        (row,) = [row for row in rows if row[:2] == ["5", name]]
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        assert row[2] == "65"
        assert row[3].startswith(f"{percent(median)} [")
        assert row[4] == f"{percent(low)} to {percent(high)}"


@pytest.mark.parametrize("name", [name for name in run_names.FIGURES if name in HISTOGRAMS])
def test_columns_of_histograms_are_their_heights(
    page: str, figures_drawn: dict[str, Figure], name: str
) -> None:
    _, *rows = rows_of(page, f"of-{name}")
    columns = [[cell for cell in column if cell != "0"] for column in zip(*rows, strict=True)]
    steps = [
        [count(height) for height in patch.get_data()[0] if height]
        for axes in figures_drawn[name].axes
        for patch in axes.patches
        if isinstance(patch, StepPatch)
    ]
    assert len(columns) > 2
    assert all(column in steps for column in columns[2:])


@pytest.mark.parametrize("edit", ["suppress", "amplify"])
def test_histogram_counts_every_concept_once(
    page: str, rich_numbers: dict[str, Any], edit: str
) -> None:
    head, *rows = rows_of(page, f"of-{edit}_histogram")
    bins = rich_numbers["histograms"][edit]
    assert head[:2] == ["From", "To"]
    for place, kind in enumerate(("own", "unrelated", "random"), start=2):
        outside = bins["kinds"][kind]
        inside = sum(int(row[place].replace(",", "")) for row in rows)
        assert inside + outside["below"] + outside["above"] == outside["n"]
        assert f"n = {count(outside['n'])}" in head[place].replace("\xa0", " ")
    width = (bins["high"] - bins["low"]) / bins["bins"]
    borders = [bins["low"] + width * place for place in range(bins["bins"] + 1)]
    assert {row[0] for row in rows} <= {whole_percent(round(border, 9)) for border in borders}


def test_panels_by_part_of_speech_are_columns(page: str, rich_numbers: dict[str, Any]) -> None:
    head, *rows = rows_of(page, "of-suppress_by_pos")
    assert len(head) > 3
    assert head[2].startswith("noun (n")
    found = sum(int(cell) for row in rows for cell in row[2:])
    own = rich_numbers["histograms"]["suppress"]["kinds"]["own"]
    assert found == own["n"] - own["below"] - own["above"]


def test_bars_have_all_their_series(page: str, rich_numbers: dict[str, Any]) -> None:
    head, *rows = rows_of(page, "of-amplify_concepts")
    window = rich_numbers["window"]["amplify"]
    assert rows == [[r["concept"], percent(r["own"]), percent(r["unrelated"])] for r in window]
    head, *rows = rows_of(page, "of-neurons_by_layer")
    neurons = rich_numbers["neurons"]
    assert [row[1] for row in rows] == [*map(count, neurons["by_layer"])]
    assert [row[2] for row in rows] == [*map(count, neurons["distinct_by_layer"])]
    assert len(rows) == len(PUBLISHED["by_layer"])
    assert head[3].startswith("published")


def test_bins_of_whole_numbers_name_those_in_them(page: str, rich_numbers: dict[str, Any]) -> None:
    _, *rows = rows_of(page, "of-neurons_per_concept")
    assert sum(int(row[2]) for row in rows) == rich_numbers["neurons"]["per_concept"]["n"]
    assert all(int(low) <= int(high) for low, high, _ in rows)
