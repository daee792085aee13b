"""Summary and frames → the drawn figures."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from kn_lightning.report import (
    canvas,
    change_figures,
    figures,
    histogram_figures,
    neuron_figures,
    write_report,
)
from kn_lightning.report.captions import captions
from kn_lightning.report.summary import PUBLISHED
from kn_lightning.run_names import FIGURES

Numbers = dict[str, Any]


def labels(figure: Figure) -> list[str]:
    """The texts of a figure's legend."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_every_figure_of_a_rich_run_is_drawn_twice(rich_run: Path) -> None:
    drawn = {path.name for path in (rich_run / "figures").iterdir()}
    assert drawn == {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}


def test_a_figure_is_laid_out_once_for_both_of_its_files(
    rich_numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out: list[Figure] = []
    execute = ConstrainedLayoutEngine.execute

    def counted(engine: ConstrainedLayoutEngine, figure: Figure) -> Any:
        laid_out.append(figure)
        return execute(engine, figure)

    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", counted)
    with canvas.style():
        figure = neuron_figures.neurons_by_layer("", rich_numbers)
        canvas.svg_and_png(figure)
    assert laid_out == [figure]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_no_legend_title_or_label_of_any_figure_is_cut_off(
    rich_run: Path, rich_run_ja: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = {"en": rich_run, "ja": rich_run_ja}[language]
    cut, drawn = [], []

    def checked(figure: Figure) -> tuple[bytes, bytes]:
        content = canvas.svg_and_png(figure)
        drawn.append(figure)
        sheet = figure.bbox.padded(1)
        parts = [*figure.legends, figure._suptitle]  # type: ignore[attr-defined]
        for axes in figure.axes:
            parts += [axes.xaxis.label, axes.yaxis.label, axes.title]
        boxes = [part.get_window_extent() for part in parts]
        cut.extend(
            f"{figure.get_suptitle()}: {part}"
            for part, box in zip(parts, boxes, strict=True)
            if box.width and not all(sheet.contains(*corner) for corner in box.corners())
        )
        return content

    monkeypatch.setattr(figures, "svg_and_png", checked)
    write_report(run_dir, language)
    assert len(drawn) == len(FIGURES)
    assert not cut


def test_published_counts_are_scaled_to_as_many_concepts(rich_numbers: Numbers) -> None:
    n = rich_numbers["neurons"]["per_concept_with_neurons"]["n"]
    with canvas.style():
        figure = neuron_figures.neurons_by_layer("", rich_numbers)
    bars = [part for part in figure.axes[0].containers if isinstance(part, BarContainer)]
    assert len(bars) == 3
    heights = np.array([bar.get_height() for bar in bars[2]])
    assert heights == pytest.approx(np.array(PUBLISHED["by_layer"]) * n / PUBLISHED["concepts"])
    assert "702 concepts" in labels(figure)[2]
    assert "4,685" in captions(rich_numbers)["neurons_by_layer"].reading


def test_other_encoders_have_no_published_counts(rich_numbers: Numbers) -> None:
    numbers = rich_numbers | {"published": None}
    with canvas.style():
        figure = neuron_figures.neurons_by_layer("", numbers)
    assert len(labels(figure)) == 2
    assert "published" not in captions(numbers)["neurons_by_layer"].reading


def test_dose_curve_goes_through_every_factor_and_nothing_at_1(rich_numbers: Numbers) -> None:
    with canvas.style():
        figure = change_figures.dose_curve("", rich_numbers)
    own = figure.axes[0].lines[0]
    assert list(own.get_xdata()) == [-1, 0, 0.5, 1, 2, 5]
    medians = [point["median"] for point in rich_numbers["doses"]["own"]]
    assert list(own.get_ydata()) == medians
    assert medians[3] == 0
    assert len(labels(figure)) == len(rich_numbers["doses"])


@pytest.mark.parametrize(("high", "ticks"), [(4.0, {-0.2, -0.5, 0.2}), (40.0, {-0.3, 10.0})])
def test_ticks_of_the_dose_curve_reach_below_ten_percent_and_do_not_touch(
    rich_numbers: Numbers, high: float, ticks: set[float]
) -> None:
    curve = [
        {"factor": factor, "median": median, "median_ci": None}
        for factor, median in ((0.0, -0.9), (1.0, 0.0), (2.0, 1.0), (3.0, high))
    ]
    with canvas.style():
        figure = change_figures.dose_curve("", rich_numbers | {"doses": {"own": curve}})
        figure.draw_without_rendering()
        axes = figure.axes[0]
        low, top = axes.get_ylim()
        inside = [tick for tick in axes.yaxis.get_major_ticks() if low < tick.get_loc() < top]
        boxes = [tick.label1.get_window_extent() for tick in inside]
    assert ticks <= {float(tick.get_loc()) for tick in inside}
    assert not any(above.overlaps(below) for below, above in pairwise(boxes))


def test_dose_curve_without_intervals_is_drawn(rich_numbers: Numbers) -> None:
    curve = [point | {"median_ci": None} for point in rich_numbers["doses"]["own"]]
    with canvas.style():
        figure = change_figures.dose_curve("", rich_numbers | {"doses": {"own": curve}})
    canvas.svg_and_png(figure)
    assert labels(figure) == ["own prompts"]


def test_parts_of_speech_are_grouped_as_in_the_paper(rich_numbers: Numbers) -> None:
    given = ["noun", "noun", "verb", "adjective", "adverb", "determiner", None]
    concepts = [f"concept{number}" for number in range(len(given))]
    changes = pd.DataFrame({"concept": concepts, "edit": "suppress", "kind": "own", "change": -0.3})
    parts = pd.Series(given, index=concepts)
    with canvas.style():
        figure = histogram_figures.pos_histogram("", rich_numbers, changes, "suppress", parts)
    titles = [axes.get_title("left").split(";")[0] for axes in figure.axes]
    assert titles == [
        "noun (n = 2",
        "verb, adjective, adverb (n = 3",
        "other (n = 1",
        "not given (n = 1",
    ]


@pytest.mark.parametrize("edit", ["suppress", "amplify"])
def test_captions_by_part_of_speech_state_the_test(rich_numbers: Numbers, edit: str) -> None:
    reading = captions(rich_numbers)[f"{edit}_by_pos"].reading
    assert "nouns (n = 28) differ significantly" in reading
    assert "Mann–Whitney U test: adjusted p" in reading
    assert "rank-biserial r" in reading


def test_kinds_differ_in_more_than_colour() -> None:
    looks = canvas.LOOKS.values()
    assert len({look.color for look in looks}) == len(looks)
    assert len({look.hatch for look in looks}) == len(looks)
    assert len({look.marker for look in looks}) == len(looks)


def test_the_floor_of_the_error_is_in_the_unit_of_its_axis(rich_numbers: Numbers) -> None:
    with canvas.style():
        residuals = pd.Series([1e-12, 1e-6, 1e-4])
        figure = neuron_figures.completeness("", rich_numbers, residuals)
        assert "attributions (1 below 1e-07 %, not drawn)" in labels(figure)[0].replace("\xa0", " ")
