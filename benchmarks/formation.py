"""When concepts and their neurons appear in the training of the testbed: docs/formation.md.

    python benchmarks/formation.py [--record FOLDER --training NAME]

``train.py --formation.every 50`` trains the testbed's encoder anew and follows all of its concepts,
unless the record of such a training is named; what ``report`` finds in it is kept: means over
concepts by step, with 95 % bootstrap intervals of the first three; the Jaccard index with the last
neurons by layer and by part of speech; the median steps at which the probability has risen and
neurons are there; and how far neurons come before or after the probability (in steps, with the
test), by the line that dates the probability.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from setting import arguments, keep

from kn_lightning.command import run_command

_SCRIPTS = Path(__file__).parent.parent
QUICK = ["--data.max_groups", "6", "--trainer.max_steps", "4", "--formation.every", "2"]
PARTS = ("adjective", "adverb", "noun", "verb")
MISSING = {"mean": None, "median": None, "interval": None}
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


def interval_of(name: str, found: dict[str, Any], middle: str = "mean") -> dict[str, Any]:
    """A mean, or a median, with its interval: three columns."""
    low, high = found["interval"] or (None, None)
    return {name: found[middle], f"{name}_from": low, f"{name}_to": high}


def by_step(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Curves over all concepts, by layer and by part of speech."""
    curves, layers = numbers["curves"], numbers["by_layer"]
    rows = []
    for place, step in enumerate(numbers["steps"]):
        row: dict[str, Any] = {"step": step}
        for name in _WITH_INTERVAL:
            row |= interval_of(name, curves["all"][name][place])
        row["jaccard_of_others"] = curves["all"]["jaccard_with_last_of_others"][place]["mean"]
        for layer in layers:
            row[f"layer_{layer['layer']}_n_neurons"] = layer["n_neurons"][place]["mean"]
        for part in PARTS:
            row[f"{part}_probability"] = (
                curves[part]["probability"][place]["mean"] if part in curves else None
            )
        rows.append(row)
    return rows


def likeness_by_layer(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """The Jaccard index with the last neurons of a layer, and with other concepts' last ones."""
    rows = []
    for place, step in enumerate(numbers["steps"]):
        row: dict[str, Any] = {"step": step}
        for layer in numbers["by_layer"]:
            name, others = f"layer_{layer['layer']}", layer["jaccard_with_last_of_others"][place]
            row |= interval_of(name, layer["jaccard_with_last"][place])
            row[f"{name}_others"] = others["mean"]
        rows.append(row)
    return rows


def likeness_by_part(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """The Jaccard index with the last neurons by part of speech."""
    rows = []
    for place, step in enumerate(numbers["steps"]):
        row: dict[str, Any] = {"step": step}
        for part in PARTS:
            of_part = numbers["curves"].get(part, {}).get("jaccard_with_last")
            row |= interval_of(part, of_part[place] if of_part else MISSING)
        rows.append(row)
    return rows


def dates(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Median steps at which probabilities have risen and neurons are there; layers have neurons."""
    found = {who: found for who, found in numbers["timing"].items() if who in ("all", *PARTS)} | {
        f"layer {layer['layer']}": {how: {"neurons": one} for how, one in layer["timing"].items()}
        for layer in numbers["by_layer"]
    }
    rows = []
    for who, ways in found.items():
        for how, one in ways.items():
            row = {"of": who, "how": how, "concepts": one["neurons"]["n"]}
            row |= interval_of("probability", one.get("probability", MISSING), "median")
            rows.append(row | interval_of("neurons", one["neurons"], "median"))
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


CELLS: dict[str, Callable[[dict[str, Any]], list[dict[str, Any]]]] = {
    "by step": by_step,
    "order": order,
    "likeness by layer": likeness_by_layer,
    "likeness by part of speech": likeness_by_part,
    "dates": dates,
}
"""What is kept: the rows of its table."""


def main() -> None:
    """Train, or read; keep a cell for each of ``CELLS``."""
    parser = arguments(__doc__)
    parser.add_argument("--record", type=Path, help="of such a training, with its report")
    parser.add_argument("--training", default="testbed", help="name of the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        record = options.record or made(Path(name), options.quick)
        numbers = json.loads((record / "summary.json").read_text(encoding="utf-8"))
    for cell, rows in CELLS.items():
        concepts = numbers["n_concepts"]
        name = f"{options.training}: {cell}"
        keep("formation", name, rows(numbers), options.quick, concepts=concepts)


if __name__ == "__main__":
    run_command(main)
