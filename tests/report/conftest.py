"""Fixtures of the report's tests: the planted run folder and its parts."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kn_lightning.report import write_report

from .rich import rich_environment, rich_tables
from .runs import ENVIRONMENT, Rows, WriteRun, numbers_of, planted_tables, write_run


@pytest.fixture(scope="session")
def rich_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reported run folder that has everything a report can show."""
    run_dir = tmp_path_factory.mktemp("rich") / "run"
    write_report(write_run(run_dir, rich_tables(), rich_environment()))
    return run_dir


@pytest.fixture(scope="session")
def rich_numbers(rich_run: Path) -> dict[str, Any]:
    """Its summary; a test that changes it takes a copy."""
    numbers: dict[str, Any] = json.loads((rich_run / "summary.json").read_text(encoding="utf-8"))
    return numbers


@pytest.fixture(scope="session")
def rich_run_ja(rich_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, reported in Japanese."""
    pytest.importorskip("matplotlib_fontja", reason="a font with Japanese characters")
    run_dir = tmp_path_factory.mktemp("rich_ja") / "run"
    shutil.copytree(rich_run, run_dir)
    write_report(run_dir, "ja")
    return run_dir


@pytest.fixture
def tables() -> dict[str, Rows]:
    """The planted tables; a test may change its copy."""
    return planted_tables()


@pytest.fixture
def environment() -> dict[str, Any]:
    """A complete ``environment.json``; a test may change its copy."""
    return copy.deepcopy(ENVIRONMENT)


@pytest.fixture
def make_run(tmp_path: Path) -> WriteRun:
    """Writes given tables as a run folder and returns it."""

    def make(tables: dict[str, Rows], environment: dict[str, Any], name: str = "run") -> Path:
        return write_run(tmp_path / name, tables, environment)

    return make


@pytest.fixture
def run_dir(make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]) -> Path:
    """The planted run folder."""
    return make_run(tables, environment)


@pytest.fixture
def numbers(run_dir: Path) -> dict[str, Any]:
    """The summary of the planted run."""
    return numbers_of(run_dir)
