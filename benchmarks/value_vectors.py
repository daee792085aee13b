"""Where concepts stand among the tokens that their neurons' value vectors promote.

    python benchmarks/value_vectors.py [--encoder DIR] [--cell NAME] [-- FLAGS OF analyze.py]

``analyze.py --refine.values 10`` runs on the testbed, or on the encoder and data that are named,
with few edits, and its statistics are kept: the median rank over concepts among the vocabulary,
for a concept's knowledge neurons and for random ones of the same layers, and Wilcoxon's
signed-rank test over concepts between the two; over all layers, and of each.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from setting import arguments, keep
from study import analyzed

from kn_lightning.command import run_command

FLAGS = ["--refine.values", "10", "--edit.factors", "[0]", "--edit.max_prompts", "1"]
FLAGS += ["--edit.others", "0", "--edit.controls", "[]"]
QUICK = ["--data.max_groups", "6", "--model.rule", "gauss_legendre", "--model.nodes", "3"]


def row(layer: str, found: dict[str, Any]) -> dict[str, Any]:
    """Of all layers or one: medians with their 95 % bootstrap intervals, and the test."""
    test = found["test"] or {}
    own, random = found["knowledge"], found["random"]
    intervals = [one or (None, None) for one in (own["median_ci"], random["median_ci"])]
    (own_low, own_high), (random_low, random_high) = intervals
    low, high = found["times_ci"] or (None, None)
    return {
        "layer": layer,
        "concepts": found["n"],
        "knowledge_neurons": own["n_neurons"],
        "rank_knowledge": own["median"],
        "knowledge_from": own_low,
        "knowledge_to": own_high,
        "rank_random": random["median"],
        "random_from": random_low,
        "random_to": random_high,
        "times_higher": found["times"],
        "from": low,
        "to": high,
        "first_ten_knowledge": own["top_10"],
        "first_ten_random": random["top_10"],
        "p": test.get("p_adjusted", test.get("p")),
    }


def main() -> None:
    """Run one study and keep its cell."""
    parser = arguments(__doc__)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--cell", help="name of the result; default: the encoder's")
    parser.add_argument("flags", nargs="*", help="of analyze.py, behind --")
    options = parser.parse_args()
    flags = ["--model.encoder", options.encoder, *FLAGS, *options.flags]
    with tempfile.TemporaryDirectory() as folder:
        numbers = analyzed(Path(folder) / "run", flags + (QUICK if options.quick else []))
    found = numbers["values"]
    rows = [row("all", found)] + [row(name, one) for name, one in found["by_layer"].items()]
    name = options.cell or Path(options.encoder).name
    counts = {**numbers["counts"], "tokens": found["n_tokens"]}
    keep("value_vectors", name, rows, options.quick, counts=counts)


if __name__ == "__main__":
    run_command(main)
