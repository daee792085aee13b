"""The numbers of figures as tables, against the run's."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from kn_lightning.report.figures import ORDER
from kn_lightning.report.numerals import count, percent, whole_percent
from kn_lightning.report.summary import PUBLISHED

IN_TABLES = {
    "change_by_kind": "spread",
    "dose_curve": "doses",
    "top_curve": "top",
    "weight_edits": "weight_edits",
    "values": "values",
    "agreement": "agreement",
}
"""Figures whose numbers stand in a table of the report."""
IN_ITS_WORDS = {"overlap"}
"""Figures whose alternative text has all of them."""


def rows_of(page: str, name: str) -> list[list[str]]:
    """A table of the page, its head first."""
    (part,) = re.findall(rf'id="table-{name}".*?</table>', page, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL)
    return [
        [unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows
    ]


@pytest.fixture(scope="module")
def page(rich_run: Path) -> str:
    """The report."""
    return (rich_run / "report.html").read_text(encoding="utf-8")


def test_every_figure_has_its_numbers_in_text(page: str) -> None:
    listed = set(re.findall(r'id="table-of-(\w+)"', page))
    assert listed == {*ORDER} - {*IN_TABLES} - IN_ITS_WORDS
    assert all(f'id="table-{table}"' in page for table in IN_TABLES.values())


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
