"""When concepts and their neurons appear in the training of the testbed: docs/formation.md.

    python benchmarks/formation.py [--record FOLDER]

``train.py --formation.every 50`` trains the testbed's encoder anew and follows all of its concepts,
unless the record of such a training is named; what ``report`` finds in it is kept: means over
concepts by step, with 95 % bootstrap intervals of the first three, and how far neurons come before
or after the probability (in steps, with the test), by the line that dates the probability.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from setting import arguments, keep

from kn_lightning.command import run_command

_SCRIPTS = Path(__file__).parent.parent
QUICK = ["--data.max_groups", "6", "--trainer.max_steps", "4", "--formation.every", "2"]
PARTS = ("adjective", "adverb", "noun", "verb")
_WITH_INTERVAL = ("probability", "n_neurons", "jaccard_with_last")


def made(folder: Path, quick: bool) -> Path:
    """The record of a training, with its report."""
    record = folder / "record"
    command = [sys.executable, str(_SCRIPTS / "train.py"), "--formation.folder", str(record)]
    command += ["--export.folder", str(folder / "encoder")]
    command += QUICK if quick else ["--formation.every", "50"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return record


def by_step(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Curves over all concepts, by layer and by part of speech."""
    curves, layers = numbers["curves"], numbers["by_layer"]
    rows = []
    for place, step in enumerate(numbers["steps"]):
        row: dict[str, Any] = {"step": step}
        for name in _WITH_INTERVAL:
            point = curves["all"][name][place]
            low, high = point["interval"] or (None, None)
            row |= {name: point["mean"], f"{name}_from": low, f"{name}_to": high}
        row["jaccard_of_others"] = curves["all"]["jaccard_with_last_of_others"][place]["mean"]
        for layer in layers:
            for name in ("n_neurons", "jaccard_with_last"):
                row[f"layer_{layer['layer']}_{name}"] = layer[name][place]["mean"]
        for part in PARTS:
            row[f"{part}_probability"] = (
                curves[part]["probability"][place]["mean"] if part in curves else None
            )
        rows.append(row)
    return rows


def order(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Neurons against the probability: below 0 they come before it."""
    rows = []
    for share, found in numbers["order_by_share"].items():
        for how, one in found.items():
            low, high = one["interval"] or (None, None)
            row = {"probability_above": f"{share} of its last", "neurons_are_there": how}
            row |= {"concepts": one["n_dated"], "steps_after": one["mean_difference"]}
            rows.append(row | {"from": low, "to": high, "p": (one["test"] or {}).get("p")})
    return rows


def main() -> None:
    """Train, or read; keep both cells."""
    parser = arguments(__doc__)
    parser.add_argument("--record", type=Path, help="of such a training, with its report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        record = options.record or made(Path(name), options.quick)
        numbers = json.loads((record / "summary.json").read_text(encoding="utf-8"))
    concepts = numbers["n_concepts"]
    keep("formation", "testbed: by step", by_step(numbers), options.quick, concepts=concepts)
    keep("formation", "testbed: order", order(numbers), options.quick, concepts=concepts)


if __name__ == "__main__":
    run_command(main)
