"""Time and peak memory of a whole study against groups, tokens and nodes.

    python benchmarks/scaling.py [--shape embedded] [--groups 100 300 1000 3000]

Each study runs in a fresh process, by the command's own way and into a temporary folder:
attribution, refinement, edits with all controls, tables on disk; not the report. Groups have four
prompts. Each is run ``--repeats`` times, for how an allocator's pages fall is chance, and medians
are given. Beside the rows stand how much memory grows from the fewest groups on, and, of three
points or more, how well a line fits the time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from setting import SHAPES, arguments, keep
from study import run_study, write_encoder, write_prompts

FEW_TOKENS = 12
MIB = 1 << 20
POINTS_OF_A_LINE = 3
"""Through two, any line fits."""


def studies(options: Any) -> Iterator[tuple[str, int, int, int | None]]:
    """What is varied, with groups, tokens and nodes (None: adaptive)."""
    yield from (("groups", n, FEW_TOKENS, None) for n in options.groups)
    few = options.groups[0]
    yield from (("tokens", few, n, None) for n in options.tokens)
    yield from (("nodes", few, FEW_TOKENS, n) for n in options.nodes)


def measured(
    shape: str, n_groups: int, n_tokens: int, nodes: int | None, repeats: int
) -> dict[str, Any]:
    """Seconds and peak memory of a study: medians, and the least and most memory."""
    rule = [] if nodes is None else ["--model.rule", "gauss_legendre", "--model.nodes", str(nodes)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoder(folder / "encoder", shape)
        write_prompts(folder / "prompts.jsonl", shape, n_groups, n_tokens)
        found = repeated(folder / "encoder", folder / "prompts.jsonl", repeats, rule)
    varied = {
        "groups": n_groups,
        "tokens": n_tokens,
        "nodes": "adaptive" if nodes is None else nodes,
    }
    return varied | found


def repeated(
    encoder: Path, prompts: Path, repeats: int, flags: Sequence[str] = ()
) -> dict[str, float]:
    """Medians over studies of the same prompts, each in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        runs = [
            run_study(encoder, prompts, Path(name) / f"run{number}", flags)
            for number in range(repeats)
        ]
    peaks = [run["peak_bytes"] / MIB for run in runs]
    return {
        "seconds": median(run["seconds"] for run in runs),
        "peak_mib": median(peaks),
        "least": min(peaks),
        "most": max(peaks),
    }


def line_fit(rows: list[dict[str, Any]], by: str) -> dict[str, float]:
    """Time as a line: its seconds at 0 and for each further one, and the share that explains."""
    x, y = (np.array([float(row[key]) for row in rows]) for key in (by, "seconds"))
    slope, start = np.polyfit(x, y, 1)
    left = ((y - start - slope * x) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    return {"seconds_at_0": start, "seconds_each": slope, "r_squared": 1 - left}


def main() -> None:
    """Measure and keep one cell for each thing that is varied."""
    parser = arguments(__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument("--groups", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--tokens", type=int, nargs="*", default=[8, 12, 24, 48])
    parser.add_argument("--nodes", type=int, nargs="*", default=[5, 10, 20, 40])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.quick:
        options.shape, options.groups, options.tokens, options.nodes = "tiny", [4, 8], [], []
        options.repeats = 1
    rows: dict[str, list[dict[str, Any]]] = {}
    for varied, n_groups, n_tokens, nodes in studies(options):
        found = measured(options.shape, n_groups, n_tokens, nodes, options.repeats)
        rows.setdefault(varied, []).append(found)
    for varied, points in rows.items():
        further: dict[str, Any] = {}
        if len(points) >= POINTS_OF_A_LINE:
            further["time_is_a_line"] = line_fit(points, varied)
        if varied == "groups":
            further["memory_growth"] = {
                f"{small['groups']} to {large['groups']}": large["peak_mib"] / small["peak_mib"] - 1
                for small in points[:1]
                for large in points[1:]
            }
        further["repeats"] = options.repeats
        keep("scaling", f"{options.shape}, by {varied}", points, options.quick, **further)


if __name__ == "__main__":
    main()
