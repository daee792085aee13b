"""What became of random inputs: ``fuzz.json``, and the table of it in docs/bad_input.md."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "fuzz.json"
PACKAGES = ("jsonargparse", "pyyaml", "lightning", "transformers", "tokenizers", "safetensors")


def record(
    kinds: Iterable[str], outcomes: Counter[str], broken: list[str], seed: int, seconds: float
) -> dict[str, Any]:
    """The results of one run, as they are kept.

    Args:
        kinds: names of the readers.
        outcomes: how many inputs of ``KIND read`` and ``KIND refused``.
        broken: a line for each other input, which begins with its kind.
        seed: of the inputs.
        seconds: of all.
    """
    tracebacks = Counter(line.partition(" ")[0] for line in broken)
    rows = {}
    for kind in kinds:
        read, refused, other = (
            *(outcomes[f"{kind} {end}"] for end in ("read", "refused")),
            tracebacks[kind],
        )
        rows[kind] = {
            "inputs": read + refused + other,
            "accepted": read,
            "refused in one line": refused,
            "tracebacks": other,
        }
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    return {"seed": seed, "seconds": round(seconds), "versions": versions, "kinds": rows}


def section(kept: dict[str, Any]) -> str:
    """The part of the page that shows a kept run."""
    rows = kept["kinds"]
    columns = list(next(iter(rows.values())))
    sums = {column: sum(row[column] for row in rows.values()) for column in columns}
    lines = [["kind", *columns], ["---", *("---:" for _ in columns)]]
    lines += [
        [kind, *(f"{row[column]:,}" for column in columns)]
        for kind, row in {**rows, "all": sums}.items()
    ]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    versions = ", ".join(f"{name} {number}" for name, number in kept["versions"].items())
    return (
        f"\n## Random inputs\n\n"
        f"{sums['inputs']:,} good files with up to six random changes each (bytes, values, nesting,"
        " lengths) were given\nto the readers: each has to be accepted, or refused in one line.\n\n"
        f"{table}\n"
        f"Seed {kept['seed']}, {kept['seconds']:,} s; {versions}."
        f" `PYTHONPATH=tests python -m bad_input.fuzz {sums['inputs']}` counts anew.\n"
    )


def kept_section() -> str:
    """That of the results that are kept."""
    return section(json.loads(RESULTS.read_text(encoding="utf-8")))
