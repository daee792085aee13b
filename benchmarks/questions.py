"""Figures of docs/science.md that one study answers: ablation, doses, numbers, consistency.

    python benchmarks/questions.py [--encoder DIR] [--cell NAME] [-- FLAGS OF analyze.py]

``analyze.py`` runs once with the flags of all ``QUESTIONS``, on the testbed or on the encoder and
data that are named, and the statistics of its ``summary.json`` are kept, a cell a question: medians
(of consistency means) over concepts with their 95 % bootstrap intervals.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from setting import arguments, keep
from study import analyzed

from kn_lightning.command import run_command
from kn_lightning.report.tables import run_tables

Rows = list[dict[str, Any]]

QUICK = ["--data.max_groups", "6", "--model.rule", "gauss_legendre", "--model.nodes", "3"]


def interval(low_and_high: list[float] | None) -> dict[str, float | None]:
    """Two columns of a table."""
    low, high = low_and_high or (None, None)
    return {"from": low, "to": high}


def of_agreement(numbers: dict[str, Any]) -> Rows:
    """How far other attributions find the neurons of integrated gradients."""
    return [
        {"attribution": name, "measure": measure, "concepts": one["n"], "median": one["median"]}
        | interval(one["median_ci"])
        for name, found in numbers["agreement"].items()
        for measure, one in found["measures"].items()
    ]


def of_doses(numbers: dict[str, Any]) -> Rows:
    """The relative change of the answer's probability by factor."""
    return [
        {"kind": kind, "factor": point["factor"], "concepts": point["n"], "median": point["median"]}
        | interval(point["median_ci"])
        for kind, curve in numbers["doses"].items()
        for point in curve
        if point["factor"] != 1
    ]


def of_top(numbers: dict[str, Any]) -> Rows:
    """The same by number of neurons; p is of the test beside random ones."""
    return [
        {"neurons": point["k"], "source": source, "concepts": point[source]["n"]}
        | {"median": point[source]["median"]}
        | interval(point[source]["median_ci"])
        | {"falls_by_half": point[source]["falls_by_half"]}
        | {"p": (point["test"] or {}).get("p_adjusted") if source == "top" else None}
        for point in numbers["top"]["points"]
        for source in ("top", "top_random")
    ]


def of_consistency(numbers: dict[str, Any]) -> Rows:
    """What prompts of one concept share, beside prompts of different ones; means."""
    coarse, scores = numbers["consistency"], numbers["similarity"]
    return [
        {"measure": "Jaccard index of coarse neurons", "concepts": coarse["n"]}
        | {"within": coarse["mean"], **interval(coarse["mean_ci"])}
        | {"concepts_between": None, "between": coarse["random_expectation"]}
        | {"between_from": None, "between_to": None, "larger_within": None},
        {"measure": "n-sample similarity of scores", "concepts": scores["n"]}
        | {"within": scores["mean"], **interval(scores["mean_ci"])}
        | {"concepts_between": scores["n_between"], "between": scores["between_mean"]}
        | {f"between_{key}": value for key, value in interval(scores["between_mean_ci"]).items()}
        | {"larger_within": numbers["larger_within"]},
    ]


QUESTIONS: dict[str, tuple[list[str], Callable[[dict[str, Any]], Rows]]] = {
    "ablation beside integrated gradients": (
        ["--model.compare", "[activation,gradient_activation,ablation]"],
        of_agreement,
    ),
    "doses": (["--edit.factors", "[0,0.5,1.5,2,3]"], of_doses),
    "number of neurons": (["--edit.top", "[1,2,5,10,20,50]"], of_top),
    "consistency": ([], of_consistency),
}
"""What is asked: its flags, and the rows of its table."""


def larger_within(run_dir: Path) -> int:
    """Concepts whose prompts are more similar than those of different ones; of those with both."""
    prompts = run_tables(run_dir).prompts
    found = prompts.groupby("concept")[["similarity", "similarity_between"]].first().dropna()
    return int((found["similarity"] > found["similarity_between"]).sum())


def main() -> None:
    """Run one study and keep a cell for each question."""
    parser = arguments(__doc__)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--cell", help="name of the results; default: the encoder's")
    parser.add_argument("flags", nargs="*", help="of analyze.py, behind --")
    options = parser.parse_args()
    flags = ["--model.encoder", options.encoder]
    flags += [flag for asked, _ in QUESTIONS.values() for flag in asked]
    flags += options.flags + (QUICK if options.quick else [])
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        numbers = analyzed(run_dir, flags)
        numbers["larger_within"] = larger_within(run_dir)
    name = options.cell or Path(options.encoder).name
    for question, (_, rows) in QUESTIONS.items():
        counts = numbers["counts"]
        keep("questions", f"{name}: {question}", rows(numbers), options.quick, counts=counts)


if __name__ == "__main__":
    run_command(main)
