"""Edits of weights, and attributions besides integrated gradients, in one study.

    python benchmarks/other_methods.py [--encoder DIR --prompts_file FILE.jsonl] [--max_groups 40]

``analyze.py`` runs on the testbed, or on the encoder and prompts that are named, and the figures
of its report's two sections are kept: what each edit of weights does to the prompts that found the
neurons (reliability), to other wordings (generality) and to others' prompts (locality), with
random neurons' beside it; and how far each attribution finds the neurons of integrated gradients.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from setting import arguments, keep
from study import analyzed

from kn_lightning.command import run_command

WEIGHTS = "[erase_zero,erase_unk,update]"
COMPARED = "[activation,gradient_activation,ablation]"


def weight_edits(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Medians over concepts, a row for each edit, source of neurons and aspect."""
    return [
        {
            "edit": edit,
            "neurons": source,
            "aspect": aspect,
            "concepts": row["change"]["n"],
            "relative_change": row["change"]["median"],
            "share_of_prompts_that_fall": row["falls"]["mean"],
            "share_as_intended": row["as_intended"]["mean"],
        }
        for edit, sources in numbers["weight_edits"].items()
        for source, aspects in sources.items()
        for aspect, row in aspects.items()
    ]


def agreement(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Medians over concepts, a row for each attribution."""
    return [
        {"attribution": name, "prompts": row["n_prompts"]}
        | {measure: found["median"] for measure, found in row["measures"].items()}
        for name, row in numbers["agreement"].items()
    ]


def main() -> None:
    """Run one study and keep its two cells."""
    parser = arguments(__doc__)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--prompts_file", type=Path, help="for JsonlPrompts; the testbed's unless")
    parser.add_argument("--max_groups", type=int, default=40)
    parser.add_argument("--share", type=float, default=0.7, help="of prompts that find neurons")
    options = parser.parse_args()
    file = options.prompts_file
    source = ["--data", "JsonlPrompts", "--data.path", str(file)] if file else []
    flags = [
        "--model.encoder", options.encoder, *source, "--data.max_groups",
        str(3 if options.quick else options.max_groups), "--edit.holdout",
        str(1 - options.share), "--edit.weights", WEIGHTS, "--model.compare", COMPARED,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        numbers = analyzed(Path(folder) / "run", flags)
    name = f"{Path(options.encoder).name}, {file.stem if file else 'testbed'}"
    counts = numbers["counts"]
    for what, rows in (
        ("edits of weights", weight_edits(numbers)),
        ("agreement with integrated gradients", agreement(numbers)),
    ):
        keep(
            "other_methods",
            f"{name}, {counts['concepts']} concepts: {what}",
            rows,
            options.quick,
            counts=counts,
        )


if __name__ == "__main__":
    run_command(main)
