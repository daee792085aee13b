"""A run folder → the files of the report: whole, reproducible, escaped and self-contained."""

from __future__ import annotations

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kn_lightning.errors import InputError
from kn_lightning.report import write_report
from kn_lightning.report.page import html
from kn_lightning.run_names import FIGURES

from .runs import (
    ENVIRONMENT,
    SCRIPT,
    Rows,
    WriteRun,
    edit_row,
    numbers_of,
    planted_tables,
    write_run,
)

DRAWN = set(FIGURES) - {"dose_curve", "top_curve", "agreement", "weight_edits", "values"}
"""Figures of the planted run: two factors, no curve, comparison, weight edits or value vectors."""
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags nest, collects ids, addresses and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted run with its report, written once for the tests that only read it."""
    run_dir = write_run(tmp_path_factory.mktemp("reported"), planted_tables(), ENVIRONMENT)
    assert write_report(run_dir) == run_dir / "report.html"
    return run_dir


@pytest.fixture(scope="module")
def page(reported: Path) -> Page:
    """Its page."""
    return Page((reported / "report.html").read_text(encoding="utf-8"))


def contents(run_dir: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    files = (path for path in run_dir.rglob("*") if path.is_file())
    return {path.relative_to(run_dir).as_posix(): path.read_bytes() for path in files}


def test_writes_every_file_and_nothing_else(reported: Path, run_dir: Path) -> None:
    written = {"summary.json", "report.md", "report.html"}
    written |= {f"figures/{name}.{kind}" for name in DRAWN for kind in ("png", "svg")}
    assert set(contents(reported)) - set(contents(run_dir)) == written
    json.loads((reported / "summary.json").read_text(encoding="utf-8"))


def test_the_same_run_gives_the_same_bytes(reported: Path) -> None:
    before = contents(reported)
    write_report(reported)
    assert contents(reported) == before


def test_page_is_self_contained(page: Page) -> None:
    assert all(address.startswith(("data:image/svg+xml;", "#")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address[0] == "#"} <= set(page.ids)


def test_page_is_sound_html(page: Page, reported: Path) -> None:
    text = (reported / "report.html").read_text(encoding="utf-8")
    assert text.lstrip().startswith('<!DOCTYPE html>\n<html lang="en">')
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert len(page.ids) == len(set(page.ids))
    assert {"h1", "h2", "h3", "main", "figure", "table"} <= page.tags
    assert len(page.images) == len(DRAWN)
    assert all(image["alt"] for image in page.images)


def test_data_is_escaped(page: Page, reported: Path) -> None:
    html = (reported / "report.html").read_text(encoding="utf-8")
    assert re.findall("<script.*?>", html) == [
        '<script type="application/json" id="explorer-data">',
        "<script>",
    ]
    assert SCRIPT in page.text
    markdown = (reported / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    assert "&lt;script&gt;" in markdown
    assert "a\\|b" in markdown
    assert "no \\[MASK\\]" in markdown


def test_images_are_the_drawn_figures(page: Page, reported: Path) -> None:
    inlined = {
        base64.b64decode(address.partition(",")[2]) for address in page.addresses if "," in address
    }
    assert inlined == {path.read_bytes() for path in (reported / "figures").glob("*.svg")}


def test_markdown_links_figures_that_exist(reported: Path) -> None:
    links = re.findall(
        r"\]\((figures/[^)]+)\)", (reported / "report.md").read_text(encoding="utf-8")
    )
    assert len(links) == len(DRAWN)
    assert all((reported / link).is_file() for link in links)


def test_findings_and_caveats_are_said_in_words(page: Page) -> None:
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "lowers the probability of its own answer for 66.7 % of 3 concepts" in text
    assert "median change −25.0 %" in text
    # One other concept's prompts moved as far as own: no ground for a caveat.
    assert "gives no evidence that the neurons found are specific" not in text
    assert "untested with fewer than 5 concepts: other concepts' prompts +25.0 %" in text
    # The planted run has two nouns, and no neurons for its verb.
    assert "adjectives and adverbs: n = 2 and 0, at least 5 of each are needed" in text
    assert "Without any knowledge neuron at this threshold and share: 1 of 4 concepts" in text
    assert "Medians and shares rest on 3 concepts only" in text
    assert "a probability of 0 before the edit" in text


def test_embedded_model_is_named_a_testbed(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    environment["encoder"]["id"] = "embedded"
    text = html(numbers_of(make_run(tables, environment)), [], {})
    assert "say nothing about models of natural language" in text


def test_run_without_neurons_has_a_report(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    tables["neurons"], tables["edits"] = [], []
    environment["study"]["holdout"] = 0
    run_dir = make_run(tables, environment)
    text = write_report(run_dir).read_text(encoding="utf-8")
    page = Page(text)
    assert "nothing could be edited" in page.text
    assert "Own is measured on" not in page.text
    assert "#concepts" not in text
    assert "## Concepts" not in (run_dir / "report.md").read_text(encoding="utf-8")
    drawn = {path.stem for path in (run_dir / "figures").iterdir()}
    assert drawn == {"neurons_per_concept", "consistency", "completeness"}


def test_run_without_prompts_has_a_report(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    run_dir = make_run({name: [] for name in tables}, environment)
    assert "0 concepts" in write_report(run_dir).read_text(encoding="utf-8")


def test_dose_curve_without_suppression(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    tables["edits"] = [edit_row("cat", "cat/0", "factor:1.5", 0.8, 0.9)]
    run_dir = make_run(tables, environment)
    assert "×\N{NO-BREAK SPACE}1.5" in write_report(run_dir).read_text(encoding="utf-8")
    assert not (run_dir / "figures" / "suppress_histogram.png").exists()


def test_missing_seconds_and_tolerance(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    del environment["seconds"]
    environment["study"]["tolerance"] = None
    numbers = numbers_of(make_run(tables, environment))
    assert numbers["completeness"]["n_above_tolerance"] is None
    assert "41 s" not in html(numbers, [], {}).replace("\N{NO-BREAK SPACE}", " ")


def test_odd_concepts_are_drawn(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    names = {"cat": "$x$ \\frac", "dog": "日本語", "bare": "*_`|[x](y)", SCRIPT: "a" * 80}
    for row in (row for rows in tables.values() for row in rows if "concept" in row):
        row["concept"] = names.get(row["concept"], row["concept"])
    page = Page(write_report(make_run(tables, environment)).read_text(encoding="utf-8"))
    assert all(name in page.text for name in names.values())


def test_unfinished_run_leaves_nothing_behind(run_dir: Path) -> None:
    (run_dir / "edits.parquet").unlink()
    before = sorted(run_dir.iterdir())
    with pytest.raises(InputError, match=r"edits\.parquet"):
        write_report(run_dir)
    assert sorted(run_dir.iterdir()) == before


def test_figures_without_data_any_more_are_removed(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any], reported: Path
) -> None:
    run_dir = make_run(tables | {"edits": []}, environment)
    shutil.copytree(reported / "figures", run_dir / "figures")
    own = run_dir / "figures" / "my_own.png"
    own.write_bytes(b"kept")
    write_report(run_dir)
    left = {path.stem for path in own.parent.iterdir()}
    assert "suppress_histogram" not in left
    assert {"neurons_by_layer", "my_own"} <= left
