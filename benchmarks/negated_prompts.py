"""Do a concept's neurons write its word where the sentence is denied as well?

    python benchmarks/negated_prompts.py [--encoder DIR --prompts FILE] [--max_groups N]

``negations.py`` makes a negation of each prompt of the testbed, or of a file, and ``analyze.py``
edits the neurons that the prompts found on both. A table has the median relative changes over
concepts with their 95 % bootstrap intervals; those of prompts and negations are compared by
concept (the median difference, Wilcoxon's signed-rank test, p adjusted).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from negations import negated_groups, write_groups
from setting import arguments, keep, prompt_groups
from study import analyzed

from kn_lightning.command import run_command
from kn_lightning.report.statistics import median_interval
from kn_lightning.report.tables import run_tables

KINDS = ("own", "negated", "other", "unrelated", "random")
QUICK = ["--model.rule", "gauss_legendre", "--model.nodes", "3"]


def row(edit: str, kind: str, numbers: dict[str, Any]) -> dict[str, Any]:
    """Of one edit on one kind of prompts; its difference is that of own prompts from these."""
    found = numbers["changes"][edit][kind]
    test: dict[str, Any] = next(
        (one for one in numbers["tests"] if (one["edit"], one["b"]) == (edit, kind)), {}
    )
    low, high = found["median_ci"] or (None, None)
    below, above = test.get("difference_ci") or (None, None)
    return {
        "edit": edit,
        "kind": kind,
        "concepts": found["n"],
        "median": found["median"],
        "from": low,
        "to": high,
        "own_less_this": test.get("difference"),
        "difference_from": below,
        "difference_to": above,
        "p": test.get("p_adjusted"),
    }


def unedited(edits: pd.DataFrame) -> dict[str, Any]:
    """How far the answer is believed where it is denied, without an edit."""
    rows = edits[(edits["neurons"] == "knowledge") & (edits["edit"] == "suppress")]
    own, denied = (rows[rows["prompt_kind"] == kind] for kind in ("related", "negated"))
    means = [part.groupby("concept", observed=True)["probability_before"] for part in (own, denied)]
    kept = (means[1].mean() / means[0].mean()).dropna()
    return {
        "probability_kept": {
            "concepts": len(kept),
            "median": kept.median(),
            "interval": median_interval(kept.to_numpy()),
        },
        "first_guess": {
            "prompts": float((own["rank_before"] == 1).mean()),
            "negations": float((denied["rank_before"] == 1).mean()),
        },
    }


def main() -> None:
    """Make the negations, run one study and keep its cell."""
    parser = arguments(__doc__)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--prompts", type=Path, help="LAMA's form or JSONL; the testbed's unless")
    parser.add_argument("--max_groups", type=int, help="the first so many concepts of the prompts")
    parser.add_argument("--cell", help="name of the result; default: the encoder's")
    options = parser.parse_args()
    groups = prompt_groups(options.prompts)[: 12 if options.quick else options.max_groups]
    with tempfile.TemporaryDirectory() as folder:
        path, run_dir = Path(folder) / "negated.jsonl", Path(folder) / "run"
        write_groups(path, negated_groups(groups))
        flags = ["--model.encoder", options.encoder, "--data", "JsonlPrompts"]
        flags += ["--data.path", str(path), *(QUICK if options.quick else [])]
        numbers = analyzed(run_dir, flags)
        further = unedited(run_tables(run_dir).edits)
    rows = [
        row(edit, kind, numbers)
        for edit in ("suppress", "amplify")
        for kind in KINDS
        if kind in numbers["changes"][edit]
    ]
    name = options.cell or Path(options.encoder).name
    counts = numbers["counts"]
    keep("negated_prompts", name, rows, options.quick, counts=counts, unedited=further)


if __name__ == "__main__":
    run_command(main)
