"""What data and models are called steers neither a page, nor Markdown, nor a figure."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from kn_lightning.printable import printable
from kn_lightning.report import write_report

from .runs import Rows, WriteRun

EVIL = {
    "cat": "\x1b[31mred\x07",
    "dog": "\u202egnp.exe",
    "bare": "`a` | b\n# heading --> ]]> </text><script>alert(1)</script>",
}
"""Concepts of the planted run, and what they are called here."""
RELATION = '"><img src=x onerror=alert(1)>\x1b[2J'


@pytest.fixture
def run(make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]) -> Path:
    """A reported run with such names wherever names stand."""
    for row in (row for rows in tables.values() for row in rows):
        if "concept" in row:
            row["concept"] = EVIL.get(row["concept"], row["concept"])
        if row.get("relation"):
            row["relation"] = RELATION
    environment["encoder"]["id"] = "my\x1b[0m<b>encoder</b>"
    run_dir: Path = make_run(tables, environment)
    write_report(run_dir)
    return run_dir


def test_no_control_and_no_markup_of_the_data_is_in_the_page_or_markdown(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    markdown = (run / "report.md").read_text(encoding="utf-8")
    for text in (page, markdown):
        assert printable(text) == text
        assert not re.search(r"<(script>alert|img src=x|b>encoder)", text)
    for name in EVIL.values():
        assert printable(name) in unescape(page)
    assert "my\\x1b[0m<b>encoder</b>" in unescape(page)
    assert "\\`a\\` \\| b \\# heading" in markdown
    assert "\n# heading" not in markdown


def test_figures_are_sound_xml_without_what_the_names_hold(run: Path) -> None:
    figures = sorted((run / "figures").glob("*.svg"))
    assert figures
    for figure in figures:
        text = figure.read_text(encoding="utf-8")
        assert printable(text) == text, figure.name
        tags = {
            str(element.tag).rpartition("}")[2] for element in ElementTree.fromstring(text).iter()
        }
        assert not tags & {"script", "img", "a", "foreignObject"}, figure.name
    assert "\\x1b[31mred" in "".join(figure.read_text(encoding="utf-8") for figure in figures)
