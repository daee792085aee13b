"""A finished study or formation study -> what loggers can hold of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Results:
    """What a finished run folder has to show.

    Attributes:
        folder: the run folder.
        step: of what is logged: how many prompts were studied, or the training's last step.
        numbers: of ``summary.json``, by the names of their places joined with ``/``.
        name: of the table.
        table: ``concepts``, one row a concept: concept, pos, prompts, probability (mean), neurons,
            and its relative change by edit and kind, such as ``suppress own``; or ``formation``,
            one row a step and part of speech or layer (``layer_0``, …).
        values: what is drawn as histograms, by name.
        figures: PNG files by name.
    """

    folder: Path
    step: int
    numbers: dict[str, float]
    name: str
    table: pd.DataFrame
    values: dict[str, list[float]]
    figures: dict[str, Path]


def read_results(run_dir: Path) -> Results:
    """What a finished and reported run folder has to show."""
    # Here: a study without loggers doesn't need the libraries of the report.
    from kn_lightning.report import changes, tables

    frames = tables.run_tables(run_dir)
    summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    del summary["environment"]  # part of the settings
    measured = changes.measured_changes(frames.edits, frames.neurons).concepts
    concepts = _concepts(frames.prompts, frames.neurons, measured)
    values = {
        f"{edit} own": concepts[f"{edit} own"].dropna().tolist()
        for edit in changes.edit_order(measured["edit"])
    }
    return Results(
        run_dir,
        len(frames.prompts),
        flat_numbers(summary),
        "concepts",
        concepts,
        {**values, "neurons": concepts["neurons"].tolist()},
        _figures(run_dir),
    )


def read_formation(folder: Path) -> Results:
    """What a finished and reported formation study has to show."""
    import pandas as pd

    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    parts = dict(summary["curves"])
    for layer in summary["by_layer"]:
        curves = {name: value for name, value in layer.items() if isinstance(value, list)}
        parts[f"layer_{layer['layer']}"] = curves
    rows = [
        {"step": step, "concepts": part}
        | {name: points[place]["mean"] for name, points in curves.items()}
        for part, curves in parts.items()
        for place, step in enumerate(summary["steps"])
    ]
    found = {name: summary[name] for name in ("timing", "order", "order_by_share")}
    return Results(
        folder,
        summary["steps"][-1],
        flat_numbers(found, "formation/"),
        "formation",
        pd.DataFrame(rows),
        {},
        _figures(folder),
    )


def _figures(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted((folder / "figures").glob("*.png"))}


def flat_numbers(values: dict[str, Any], place: str = "") -> dict[str, float]:
    """The numbers in nested dictionaries, by their keys joined with ``/``; lists are left out."""
    numbers: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            numbers |= flat_numbers(value, f"{place}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[f"{place}{key}"] = value
    return numbers


def _concepts(prompts: pd.DataFrame, neurons: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    by_concept = prompts.groupby("concept", observed=True)
    concepts = by_concept.agg(
        pos=("pos", "first"), prompts=("prompt_id", "size"), probability=("probability", "mean")
    )
    sizes = neurons["concept"].value_counts()
    concepts["neurons"] = sizes.reindex(concepts.index, fill_value=0)
    changes = measured.pivot(index="concept", columns=["edit", "kind"], values="change")
    changes.columns = [" ".join(pair) for pair in changes.columns]
    return concepts.join(changes).reset_index()
