"""Fixtures of the report's tests: the planted run folder and its parts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from .runs import ENVIRONMENT, Rows, WriteRun, numbers_of, planted_tables, write_run


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
