"""Summary → the tables of the report."""

from __future__ import annotations

from typing import Any

import pytest

from kn_lightning.report.labels import edit_label, edit_title
from kn_lightning.report.listing import Listing
from kn_lightning.report.listings import listings

Numbers = dict[str, Any]


@pytest.fixture(scope="module")
def tables(rich_numbers: Numbers) -> dict[str, Listing]:
    """All tables of the rich run."""
    return listings(rich_numbers)


@pytest.mark.parametrize(
    ("edit", "label"),
    [
        ("suppress", "suppress (× 0)"),
        ("amplify", "amplify (× 2)"),
        ("factor:10", "scale (× 10)"),
        ("factor:-1", "scale (× −1)"),
        ("something new", "something new"),
    ],
)
def test_edits_in_words(edit: str, label: str) -> None:
    assert edit_label(edit).replace("\N{NO-BREAK SPACE}", " ") == label
    assert edit_title(edit)[0].isupper()
    assert edit_title(edit)[1:] == edit_label(edit)[1:]


def test_every_row_has_a_text_for_every_column(tables: dict[str, Listing]) -> None:
    assert len(tables) > 15
    for name, listing in tables.items():
        assert {len(row) for row in listing.rows} == {len(listing.columns)}, name
        assert all(isinstance(cell, str) and cell for row in listing.rows for cell in row), name


def test_main_table_has_intervals_and_named_edits_alone(tables: dict[str, Listing]) -> None:
    changes = tables["changes"]
    assert len(changes.columns) == 8
    assert len(changes.rows) == 2 * 7
    assert all("[" in row[3] for row in changes.rows)
    assert {row[0].split(" ")[0] for row in changes.rows} == {"suppress", "amplify"}
    assert tables["spread"].folded
    assert len(tables["spread"].rows) == len(changes.rows)


def test_factors_are_in_a_table_of_their_own(tables: dict[str, Listing]) -> None:
    factors = [row[1].replace("\N{NO-BREAK SPACE}", " ") for row in tables["doses"].rows]
    assert factors[:5] == ["× −1", "× 0", "× 0.5", "× 2", "× 5"]


def test_few_factors_stay_in_the_main_table(rich_numbers: Numbers) -> None:
    rows = listings(rich_numbers | {"doses": {}})["changes"].rows
    assert len(rows) == 5 * 7


def test_controls_are_beside_their_tests(tables: dict[str, Listing], rich_numbers: Numbers) -> None:
    head = tables["controls"].columns
    rows = [dict(zip(head, row, strict=True)) for row in tables["controls"].rows]
    (row,) = (row for row in rows if row["Control"].startswith("random") and "0)" in row["Edit"])
    assert row["Adjusted p"].replace("\N{NO-BREAK SPACE}", " ") == "< 0.001"
    assert row["r"] == "−1.00"
    untested = listings(rich_numbers | {"tests": []})
    assert {row[-1] for row in untested["controls"].rows} == {"–"}
    assert "pos_tests" not in untested


def test_parts_of_speech_are_tested_together_and_one_by_one(tables: dict[str, Listing]) -> None:
    compared = {row[1] for row in tables["pos_tests"].rows}
    assert compared == {
        "noun / verb, adjective, adverb",
        "noun / verb",
        "noun / adjective",
        "noun / adverb",
    }
    assert {row[2] for row in tables["pos_tests"].rows} == {
        "Mann–Whitney U test",
        "Kolmogorov–Smirnov test",
    }


def test_concepts_that_overlap_most_come_first(tables: dict[str, Listing]) -> None:
    indices = [float(row[-1]) for row in tables["overlapping"].rows]
    assert indices == sorted(indices, reverse=True)
    assert indices[0] > 0
