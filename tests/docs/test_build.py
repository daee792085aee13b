"""The documentation builds without a warning, its generated parts are the code's, links lead on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest
import yaml
from callbacks.commands import REPOSITORY, command

from kn_lightning.schema import OPTIONAL_TABLES, SKIPPED_TABLE, TABLES

DOCS = REPOSITORY / "docs"
LINK = re.compile(r"\]\(([^)\s]+)\)")
PAGES = [*REPOSITORY.glob("*.md"), *DOCS.glob("*.md")]


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
def test_reference_has_all_columns_and_all_settings(built: Path) -> None:
    text = text_of(built / "reference.html")
    for name, schema in {**TABLES, **OPTIONAL_TABLES, "skipped": SKIPPED_TABLE}.items():
        assert f"{name}.parquet" in text
        assert all(column in text for column in schema.names)
    done = command("analyze.py", "--print_config")
    for section, values in yaml.safe_load(done.out).items():
        if section in ("model", "refine", "edit", "write", "progress", "track", "report"):
            missing = [key for key in values if f"--{section}.{key}" not in text]
            assert missing == [], section
    assert "--run_dir" in text
    assert "--data.min_prompts" in text


@pytest.mark.slow
def test_costs_say_what_is_measured_and_what_is_projected(built: Path) -> None:
    text = text_of(built / "cost.html")
    assert "measured" in text
    assert "projected" in text
    assert "bert-base" in text


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


def test_links_lead_to_files_or_are_addresses() -> None:
    seen = 0
    for page in PAGES:
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            seen += 1
            if "://" in link:
                assert urlparse(link).scheme == "https", (page.name, link)
                assert "." in urlparse(link).netloc, (page.name, link)
            else:
                assert (page.parent / link.partition("#")[0]).is_file(), (page.name, link)
    assert seen > 15
