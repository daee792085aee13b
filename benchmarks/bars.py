"""The bars that this project set itself, and what the results say of each."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Cells = dict[str, dict[str, Any]]
AT_LEAST, AT_MOST = ("at least", operator.ge), ("at most", operator.le)
P95_ERROR = 0.01
CAPTUM = {
    "one prompt": "times_faster_than_captum",
    "several prompts": "than_captum_of_several",
}
"""What captum is given at a time, and the column that compares with it."""
NODES = (5, 10, 20)


def bars(results: Path) -> list[dict[str, Any]]:
    """A row for each bar: the worst figure that the results hold, and whether it is cleared."""
    return [
        bar("times faster than knowledge-neurons, adaptive, bert-base, p95 error of 1 % or less",
            AT_LEAST, 12.0, adaptive(cells(results, "attribution_speed"))),
        *(bar(f"times faster than captum, {nodes} nodes each, {prompts} at a time",
              AT_LEAST, 3.0, equal_nodes(cells(results, "attribution_speed"), nodes, key))
          for prompts, key in CAPTUM.items() for nodes in NODES),
        bar("share of the matrix-product rate",
            AT_LEAST, 0.7, column(cells(results, "matmul_rate"), "share_of_rate")),
        bar("the whole of a run over its attribution and edits",
            AT_MOST, 1.25,
            column(cells(results, "whole_run"), "whole_over_attribution_and_edits")),
        bar("edits a second, times the package's",
            AT_LEAST, 10.0, edits(cells(results, "edit_speed"))),
        bar("growth of peak memory from 100 to 1,000 groups", AT_MOST, 0.05,
            growth(cells(results, "scaling"))),
        bar("seconds to open the report's page, 742 concepts and 5,000 prompts", AT_MOST, 2.0,
            column(cells(results, "page"), "seconds to open")),
        bar("its size in MB", AT_MOST, 15.0, column(cells(results, "page"), "page MB")),
        *(bar(f"efficiency at 64 ranks, ConceptNet's sizes without giants, {shape}{how}",
              AT_LEAST, 0.95,
              at_64_ranks(cells(results, "balance"), f"{shape}, without giants{how}"))
          for shape in ("minilm", "embedded") for how in ("", ", by formula")),
        bar("efficiency at 64 ranks, all of ConceptNet's concepts, embedded", AT_LEAST, 0.95,
            at_64_ranks(cells(results, "balance"), "embedded")),
        bar("prompts a second on one H100 in bf16", AT_LEAST, 1000.0,
            on_h100(cells(results, "device_speed"))),
    ]  # fmt: skip


def bar(name: str, kind: tuple[str, Any], limit: float, found: Iterator[float]) -> dict[str, Any]:
    """One row; of several figures the worst counts."""
    says, clears = kind
    figures = list(found)
    worst = (min if kind is AT_LEAST else max)(figures, default=None)
    cleared = "not measured" if worst is None else "yes" if clears(worst, limit) else "missed"
    return {"bar": name, "limit": f"{says} {limit:g}", "worst": worst, "cleared": cleared}


def cells(results: Path, name: str) -> Cells:
    """Of a script, none where it hasn't run."""
    path = results / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def column(cells: Cells, name: str) -> Iterator[float]:
    """A column of all cells."""
    for cell in cells.values():
        yield from (row[name] for row in cell["rows"])


def adaptive(cells: Cells) -> Iterator[float]:
    """Of ``adaptive`` where its errors are known."""
    for name, cell in cells.items():
        if name.startswith("random weights, bert-base"):
            for row in cell["rows"]:
                if row["rule"].startswith("adaptive") and row["error_p95"] <= P95_ERROR:
                    yield row["times_faster_than_package"]


def equal_nodes(cells: Cells, nodes: int, column: str) -> Iterator[float]:
    """Of each cell's faster Gauss rule of so many nodes."""
    names = [f"gauss_{name}, {nodes} nodes" for name in ("legendre", "lobatto")]
    for cell in cells.values():
        if found := [row[column] for row in cell["rows"] if row["rule"] in names]:
            yield max(found)


def edits(cells: Cells) -> Iterator[float]:
    """Of this project."""
    for cell in cells.values():
        yield from (row["times_faster"] for row in cell["rows"] if row["code"] == "this project")


def growth(cells: Cells) -> Iterator[float]:
    """Of peak memory."""
    for cell in cells.values():
        if "100 to 1000" in cell.get("memory_growth", {}):
            yield cell["memory_growth"]["100 to 1000"]


def at_64_ranks(cells: Cells, kind: str) -> Iterator[float]:
    """Of an encoder's shape, and without concepts that alone take longer than a rank should."""
    for name, cell in cells.items():
        if name.startswith("ConceptNet") and name.endswith(kind):
            yield from (row["efficiency"] for row in cell["rows"] if row["ranks"] == 64)


def on_h100(cells: Cells) -> Iterator[float]:
    """The best number of rows a climb."""
    for name, cell in cells.items():
        if "H100" in name and not name.startswith(("projected", "kernels")):
            rows = [row for row in cell["rows"] if row["precision"].startswith("bf16")]
            yield max(row["prompts_a_second"] for row in rows)
