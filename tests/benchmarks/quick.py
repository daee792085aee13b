"""Benchmarks on a tiny encoder: their cells, and whether stored ones are of the same kinds."""

from __future__ import annotations

import json
import logging
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``quick("edit_speed", "--layers", "uniform")``: the cells that the script prints."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    kept = {path: path.read_bytes() for path in (BENCHMARKS / "results").glob("*.json")}

    def run(name: str, *flags: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick", *flags])
        runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
        left, decoder, cells = capsys.readouterr().out.strip(), json.JSONDecoder(), {}
        while left:
            cell, end = decoder.raw_decode(left)
            cells |= cell
            left = left[end:].strip()
        assert_stored_are_made_now(name, cells)
        return cells

    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    yield run
    logger.setLevel(level)
    assert kept == {path: path.read_bytes() for path in (BENCHMARKS / "results").glob("*.json")}


def kind(cell: str) -> str:
    """A cell's name without what it was measured on."""
    trained = re.sub(r"(trained weights), .*", r"\1", cell) if "random" not in cell else cell
    shapeless = re.sub(r"\b(tiny|embedded|bert-base|bert-large)\b", "SHAPE", trained)
    return re.sub(r"\d+|CPU|NVIDIA.*", "N", shapeless)


def assert_stored_are_made_now(script: str, made: dict[str, Any]) -> None:
    """Stored cells of the kinds that a script has just made have its columns, and its rules."""
    path = BENCHMARKS / "results" / f"{script}.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    now = {kind(name): cell["rows"] for name, cell in made.items()}
    for name, cell in stored.items():
        rows = now.get(kind(name))
        if rows is not None:
            assert [*cell["rows"][0]] == [*rows[0]], name
            if script == "attribution_speed":
                assert [row["rule"] for row in cell["rows"]] == [row["rule"] for row in rows], name


def rows_of(cells: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of all cells; a cell's have the same columns, as its table needs."""
    for cell in cells.values():
        assert len({tuple(row) for row in cell["rows"]}) == 1
        assert cell["machine"]["threads"] >= 1
    return [row for cell in cells.values() for row in cell["rows"]]
