"""What a page says in numbers, held against stored results."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from callbacks.commands import REPOSITORY

Row = dict[str, Any]

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
WORDS = dict(zip(("one", "two", "three", "four", "five"), "12345", strict=True))
WORDS["twice"] = "2"


def page(name: str) -> str:
    """Its Markdown."""
    return (REPOSITORY / "docs" / name).read_text(encoding="utf-8")


def stored(name: str) -> dict[str, Any]:
    """A benchmark's cells."""
    path = REPOSITORY / "benchmarks" / "results" / f"{name}.json"
    cells: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return cells


def where(rows: Sequence[Row], **keys: object) -> Row:
    """The row with these values."""
    (row,) = [row for row in rows if all(row[key] == value for key, value in keys.items())]
    return row


def assert_said(said: str, values: Sequence[float]) -> None:
    """The numbers of a text are the first values, at the decimals that it gives them."""
    digits = re.sub(r"\b[a-z]+\b", lambda word: WORDS.get(word[0], word[0]), said)
    found = NUMBER.findall(re.sub(r"(?<=\d),(?=\d{3})", "", digits.replace("−", "-")))
    assert 0 < len(found) <= len(values), said
    for number, value in zip(found, values, strict=False):
        decimals = len(number.partition(".")[2])
        if "<" in said:
            assert value < float(number), said
        else:
            assert float(number) == pytest.approx(float(f"{value:.{decimals}f}")), (said, values)


def claimed(text: str, claim: str) -> str:
    """What the groups of a claim, which the text has once, say."""
    (found,) = re.finditer(claim, " ".join(text.split()))
    return " ".join(found.groups())


def table(text: str, *heads: str) -> list[list[str]]:
    """Cells of the table with these heads, row by row."""
    head = re.escape(f"| {' | '.join(heads)} |")
    (block,) = re.findall(rf"^{head}\n\|[ :|-]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
