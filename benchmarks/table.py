"""Rewrites the tables of the README from ``results/*.json``, so that the two can't disagree.

    python benchmarks/table.py

A table stands between ``<!-- NAME -->`` and ``<!-- end -->``; it has a part for each cell of
``results/NAME.json``, or says which bars the results clear.
"""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

from bars import bars

from kn_lightning.files import write_whole

README = Path(__file__).parent / "README.md"
RESULTS = Path(__file__).parent / "results"
_BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def figure(value: Any) -> str:
    """A value of a table: three digits of a number, whole numbers in full."""
    if value is None:
        return "–"
    if not isinstance(value, float):
        return f"{value:,}" if type(value) is int else str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return text if "e" in text else text.rstrip(".")


def table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys as a Markdown table."""
    heads = [key.replace("_", " ") for key in rows[0]]
    aligned = ["---" if isinstance(value, str) else "---:" for value in rows[0].values()]
    body = [[figure(value) for value in row.values()] for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [heads, aligned, *body])


def machine(record: dict[str, Any]) -> str:
    """One line."""
    versions = ", ".join(
        f"{name} {value}" for name, value in record.items() if name not in ("processor", "threads")
    )
    return f"{record['processor']}, {record['threads']} threads; {versions}"


def block(path: Path) -> str:
    """All cells of a script's results, those of one machine under its line."""
    if not path.exists():
        return f"\nNot run yet: `python benchmarks/{path.stem}.py`.\n\n"
    cells = json.loads(path.read_text(encoding="utf-8"))
    parts = []
    for on, found in groupby(cells.items(), lambda cell: machine(cell[1]["machine"])):
        for name, cell in found:
            commit = f", by {cell['commit']}" if "commit" in cell else ""
            parts.append(f"\n**{name}**{commit}\n\n{table(cell['rows'])}")
        parts.append(f"\n{on}\n")
    return "".join(parts) + "\n"


def rendered(readme: str, results: Path) -> str:
    """The README with its tables as the results are now."""

    def made(found: re.Match[str]) -> str:
        name = found[2]
        text = f"\n{table(bars(results))}\n" if name == "bars" else block(results / f"{name}.json")
        return found[1] + text + found[3]

    return _BLOCK.sub(made, readme)


if __name__ == "__main__":
    write_whole(README, rendered(README.read_text(encoding="utf-8"), RESULTS))
