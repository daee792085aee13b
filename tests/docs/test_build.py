"""The documentation builds without a warning, its generated parts are the code's, links lead on."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest
import yaml
from callbacks.commands import REPOSITORY
from mdit_py_plugins.anchors.index import slugify, unique_slug

from kn_lightning.data import sources as sources
from kn_lightning.data.modules import PromptGroups
from kn_lightning.data.sources import EmbeddedPrompts
from kn_lightning.flags import subclasses
from kn_lightning.schema import OPTIONAL_TABLES, SKIPPED_TABLE, TABLES

from .parsers import arguments, commands

DOCS = REPOSITORY / "docs"
LINK = re.compile(r"\]\(([^)\s]+)\)")
PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *DOCS.glob("*.md"), *REPOSITORY.glob("*/README.md")],
    key=lambda page: (page.parent != REPOSITORY, str(page)),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, by the strict build."""
    folder = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "-d", folder / "trees", DOCS, folder],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def text_of(page: Path) -> str:
    """What a reader sees of a page."""
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_every_page_is_built(built: Path) -> None:
    for page in DOCS.glob("*.md"):
        assert (built / f"{page.stem}.html").is_file()
    assert list(built.rglob("neurons.ipynb"))


@pytest.mark.slow
def test_reference_has_all_columns(built: Path) -> None:
    text = text_of(built / "reference.html")
    for name, schema in {**TABLES, **OPTIONAL_TABLES, "skipped": SKIPPED_TABLE}.items():
        assert f"{name}.parquet" in text
        assert all(column in text for column in schema.names)


@pytest.mark.slow
def test_reference_has_all_settings(built: Path) -> None:
    text = text_of(built / "reference.html")
    _, *parted = re.split(r"Flags of (\S+\.py(?: \w+)?)¶", text)
    parts = dict(zip(parted[::2], parted[1::2], strict=True))
    assert set(parts) == set(commands())
    for name, part in parts.items():
        missing = [word for word in arguments(name) if not re.search(rf"(?<![\w.-]){word}\s", part)]
        assert missing == [], name
    for kind in subclasses(PromptGroups):
        own = [word for word in inspect.signature(kind).parameters if word != "kwargs"]
        assert f"--data {kind.__name__}" in text
        assert all(f"--data.{word}" in text for word in own), kind


def test_reference_takes_up_a_new_command_and_a_new_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    import analyze
    from kn_lightning.parsing import parsed, subcommand

    def prune() -> None:
        parser = subcommand("report", "Prune neurons.")
        parser.add_argument("run_dir", help="a run")
        parser.add_argument("--trainer.logger", help="where to say it")
        parsed(parser, sys.argv[2:])

    monkeypatch.syspath_prepend(str(DOCS))
    import generate

    monkeypatch.setitem(analyze.COMMANDS, "prune", prune)
    text = generate.further_commands()
    assert "## Flags of analyze.py prune\n\nPrune neurons.\n" in text
    assert "| `RUN_DIR` | required | a run |" in text
    assert "| `--trainer.logger` |  | where to say it |" in text


@pytest.mark.slow
def test_costs_say_what_is_measured_and_what_is_projected(built: Path) -> None:
    text = text_of(built / "cost.html")
    assert "measured" in text
    assert "projected" in text
    for encoder in ("embedded", "bert-base", "bert-large"):
        # Layers × width, parameters, time and peak memory.
        assert re.search(
            rf"{encoder}, random weights\s+\d+ × \d+\s+[\d.]+ GiB\s+\d+ s\s+[\d.]+ GiB", text
        )


def test_the_whole_command_is_that_of_the_testbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import costs

    groups, _, _ = EmbeddedPrompts().selected()
    assert {len(group.prompts) for group in groups} == {12}
    text = costs.of_commands(json.loads((costs.RESULTS / "whole_run.json").read_text()))
    assert f"the testbed's {len(groups)} concepts, with twelve prompts each" in text


@pytest.mark.parametrize(("start", "projected"), [(2.0, True), (-2.0, False), (None, False)])
def test_larger_studies_are_projected_by_a_line_with_a_start_alone(
    start: float | None, projected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import costs

    scaling = json.loads((costs.RESULTS / "scaling.json").read_text(encoding="utf-8"))
    cell = scaling["embedded, by groups"]
    cell.pop("time_is_a_line", None)
    if start is not None:
        cell["time_is_a_line"] = {"seconds_at_0": start, "seconds_each": 0.06}
    text = costs.of_studies(cell)
    assert ("embedded, 100000 concepts | 100 min" in text) == projected
    assert ("100000" in text) == projected


def test_a_column_without_a_meaning_ends_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import generate

    meanings = yaml.safe_load((DOCS / "columns.yaml").read_text(encoding="utf-8"))
    generate.columns(meanings)
    said = meanings["coarse"].pop("score")
    with pytest.raises(ValueError, match=r"say what \['score'\] of coarse are"):
        generate.columns(meanings)
    meanings["coarse"].update(score=said, scores=said)
    with pytest.raises(ValueError, match=r"coarse has no \['scores'\]"):
        generate.columns(meanings)


def anchors(page: Path) -> set[str]:
    """What ``#…`` of a link may name: the slugs of a page's headings, by GitHub's rule and MyST's.

    Lower case, without punctuation, hyphens for spaces, and numbers for repetitions. MyST has
    anchors for three levels of headings (``myst_heading_anchors``), GitHub for all.
    """
    text = re.sub(r"^(```+).*?^\1", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    levels = 3 if page.parent == DOCS else 6
    found: set[str] = set()
    for title in re.findall(rf"^#{{1,{levels}}} +(.*?)[ #]*$", text, re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        unique_slug(slugify(re.sub("[`*]", "", shown)), found)
    return found


def dead(page: Path) -> list[str]:
    """Links of a page that lead to no file, to no heading of one, or are no address."""
    found = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        file = page.parent / path if path else page
        if "://" in link:
            address = urlparse(link)
            alive = address.scheme == "https" and "." in address.netloc
        else:
            alive = file.is_file() and (not anchor or anchor in anchors(file))
        if not alive:
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_to_files_and_headings_or_are_addresses(page: Path) -> None:
    assert dead(page) == []


def test_pages_have_links() -> None:
    assert sum(len(LINK.findall(page.read_text(encoding="utf-8"))) for page in PAGES) > 15


def test_dead_links_are_found(tmp_path: Path) -> None:
    links = "b.md b.md#the-way--of-data b.md#a-1 #own b.md#no b.md#comment c.md #b http://a.b"
    page = tmp_path / "a.md"
    page.write_text("# Own\n" + "".join(f"[x]({link})\n" for link in links.split()))
    (tmp_path / "b.md").write_text(
        "# The `way` & [of](https://x.y) data!\n## A\n### A\n```bash\n# comment\n```\n"
    )
    assert dead(page) == ["b.md#no", "b.md#comment", "c.md", "#b", "http://a.b"]
