"""Record of a formation study → every number that its report prints.

A concept's *rise* is the first measured step at which its probability exceeds half of its value at
the last; its neurons' *formation* is the first at which half of its neurons at the last are among
its neurons. Both are known to one measured step: what happened between two stands at the later one.
Where they hold at the first measured step already, the true step is earlier (*left-censored*).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from kn_lightning.errors import InputError
from kn_lightning.formation_tables import SKIPPED, read_record, read_tables
from kn_lightning.report.formation_likeness import FOREIGN, LIKENESS, layer_likeness, likeness
from kn_lightning.report.formation_timing import (
    FIRST,
    LASTING,
    SHARES,
    Holds,
    held_shares,
    order,
    timing,
)
from kn_lightning.report.statistics import mean_interval

CURVES = ("probability", "first", "n_neurons", "jaccard_with_previous", LIKENESS, FOREIGN)
ALL = "all"

Values = npt.NDArray[np.float64]


def formation_numbers(folder: Path) -> dict[str, Any]:
    """The summary of a folder that a formation study has written.

    Raises:
        InputError: it is none, it is damaged, or it has measured a single step.
    """
    record = read_record(folder)
    concepts, neurons = read_tables(folder)
    if concepts["step"].nunique() < 2:
        raise InputError(f"{folder}: one step alone is measured; measure another")
    n_layers = record["identity"]["encoder.n_layers"]
    concepts[FOREIGN] = likeness(concepts, neurons)[FOREIGN]
    held = held_shares(concepts, neurons, n_layers)
    parts = {ALL: concepts} | {
        str(part): own for part, own in concepts.groupby("pos", observed=True)
    }
    groups = {name: list(dict.fromkeys(own["concept"])) for name, own in parts.items()}
    return {
        "schema_version": record["schema_version"],
        "run": folder.resolve().name,
        "record": record,
        "n_concepts": len(groups[ALL]),
        "left_out": _left_out(folder),
        "n_without_last_neurons": len(groups[ALL]) - len(held.neurons),
        "n_without_last_probability": len(groups[ALL]) - len(held.probability),
        "steps": held.steps,
        "checkpoints": _checkpoints(concepts),
        "curves": {name: _curves(own, CURVES, held.steps) for name, own in parts.items()},
        "by_layer": _by_layer(held, concepts, neurons, groups[ALL]),
        "timing": {
            name: {
                kind: {
                    "probability": timing(held.probability, own, held.steps, kind),
                    "neurons": timing(held.neurons, own, held.steps, kind),
                }
                for kind in (FIRST, LASTING)
            }
            for name, own in groups.items()
        },
        "order": {kind: order(held, kind) for kind in (FIRST, LASTING)},
        "order_by_share": {
            str(share): {kind: order(held, kind, share) for kind in (FIRST, LASTING)}
            for share in SHARES
        },
    }


def _left_out(folder: Path) -> dict[str, Any]:
    """Whole concepts and single prompts; nothing of the records of earlier versions."""
    path = folder / f"{SKIPPED}.parquet"
    rows = pq.read_table(path).to_pylist() if path.is_file() else []
    whole = [row["concept"] for row in rows if row["prompt"] is None]
    return {"concepts": whole, "n_prompts": len(rows) - len(whole)}


def _checkpoints(concepts: pd.DataFrame) -> list[str | None]:
    names = concepts.groupby("step")["checkpoint"].first()
    return [None if pd.isna(name) else str(name) for name in names]


def _curves(
    rows: pd.DataFrame, names: Sequence[str], steps: list[int]
) -> dict[str, list[dict[str, Any]]]:
    """Means over concepts at each step, with their intervals."""
    return {
        name: [
            {"step": step, **_mean(rows.loc[rows["step"] == step, name].dropna().to_numpy(float))}
            for step in steps
        ]
        for name in names
    }


def _mean(values: Values) -> dict[str, Any]:
    """The mean over concepts and its bootstrap interval."""
    if not len(values):
        return {"n": 0, "mean": None, "interval": None}
    return {"n": len(values), "mean": float(values.mean()), "interval": mean_interval(values)}


def _by_layer(
    held: Holds, concepts: pd.DataFrame, neurons: pd.DataFrame, names: list[str]
) -> list[dict[str, Any]]:
    """Of each layer: neurons a concept, and how much of its last ones is there, at each step."""
    counts = neurons.groupby(["layer", "step", "concept"]).size()
    found = []
    for layer, own in enumerate(held.layers):
        sizes = counts[counts.index.get_level_values("layer") == layer]
        found.append(
            {
                "layer": layer,
                "n_neurons": [
                    {"step": step, **_mean(_sizes(sizes, step, names))} for step in held.steps
                ],
                "last_ones_present": [
                    {"step": step, **_mean(np.array([shares[place] for shares in own.values()]))}
                    for place, step in enumerate(held.steps)
                ],
                **_curves(
                    layer_likeness(concepts, neurons, layer), (LIKENESS, FOREIGN), held.steps
                ),
                "timing": {
                    kind: timing(
                        {name: shares >= 0.5 for name, shares in own.items()},
                        list(own),
                        held.steps,
                        kind,
                    )
                    for kind in (FIRST, LASTING)
                },
            }
        )
    return found


def _sizes(sizes: pd.Series, step: int, concepts: list[str]) -> Values:
    own = sizes[sizes.index.get_level_values("step") == step] if len(sizes) else sizes
    by_concept = own.droplevel([name for name in own.index.names if name != "concept"])
    return by_concept.reindex(concepts, fill_value=0).to_numpy(float)
