"""The numbers of docs/formation.md are those that the benchmark keeps, rounded as it has them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from callbacks.commands import REPOSITORY

PAGE = (REPOSITORY / "docs" / "formation.md").read_text(encoding="utf-8")
LAYERS = [f"layer_{layer}_n_neurons" for layer in range(4)]
PARTS = [f"{part}_probability" for part in ("noun", "verb", "adjective", "adverb")]
COLUMNS = ["probability", "jaccard_with_last", "jaccard_of_others", "n_neurons", *LAYERS, *PARTS]
"""Of the first table, behind the step."""


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """The benchmark's cells."""
    path = REPOSITORY / "benchmarks" / "results" / "formation.json"
    cells: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return cells


def test_the_table_by_step(kept: dict[str, Any]) -> None:
    rows = {row["step"]: row for row in kept["testbed: by step"]["rows"]}
    (body,) = re.findall(
        r"^\| step \| probability .*\n\|[ :|-]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE
    )
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]
    assert len(lines) > 10
    for step, *said in lines:
        row = rows[int(step.replace(",", ""))]
        for column, text in zip(COLUMNS, said, strict=True):
            decimals = len(text.partition(".")[2])
            assert text == f"{row[column]:.{decimals}f}", (step, column)


def test_the_finding(kept: dict[str, Any]) -> None:
    text = " ".join(PAGE.split())
    for row in kept["testbed: order"]["rows"]:
        steps = abs(row["steps_after"])
        low, high = sorted(abs(row[key]) for key in ("from", "to"))
        assert re.search(rf"{steps:.0f} (steps )?\[{low:.0f}, {high:.0f}\]", text), row
        assert row["p"] < 0.001
