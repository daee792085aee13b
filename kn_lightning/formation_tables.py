"""What a formation study measures, on disk: the record of its folder and two tables.

``formation.parquet`` has one row a step and concept, ``formation_neurons.parquet`` one row a step,
concept and knowledge neuron; ``formation.json`` says what they were made with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kn_lightning.errors import InputError
from kn_lightning.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    import pandas as pd

RECORD, CONCEPTS, NEURONS = "formation.json", "formation", "formation_neurons"

_STRING, _INT, _FLOAT = pa.string(), pa.int32(), pa.float32()
TABLES: dict[str, pa.Schema] = {
    CONCEPTS: pa.schema(
        {
            "concept": _STRING,
            "pos": _STRING,
            "step": pa.int64(),
            "checkpoint": _STRING,
            "n_prompts": _INT,
            "probability": _FLOAT,
            "rank": _FLOAT,
            "first": _FLOAT,
            "n_neurons": _INT,
            "jaccard_with_previous": _FLOAT,
            "jaccard_with_last": _FLOAT,
        }
    ),
    NEURONS: pa.schema(
        {
            "step": pa.int64(),
            "concept": _STRING,
            "layer": _INT,
            "neuron": _INT,
            "share": _FLOAT,
            "score": _FLOAT,
        }
    ),
}
"""Columns of both tables; docs/columns.yaml says what they mean."""

Sets = dict[tuple[int, str], set[tuple[int, int]]]


def read_record(folder: Path) -> dict[str, Any]:
    """``formation.json`` of a folder.

    Raises:
        InputError: it is missing or damaged.
    """
    path = folder / RECORD
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = content["schema_version"]
        dict(content["identity"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: not what a formation study writes ({error}); give the folder of one"
        ) from error
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: of schema version {version}, not {SCHEMA_VERSION}; measure it again"
        )
    return content


def read_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables of a folder: concepts, and the neurons of the steps that are whole.

    Raises:
        InputError: one is missing, damaged or of other columns.
    """
    frames = []
    for name, schema in TABLES.items():
        path = folder / f"{name}.parquet"
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            line = str(error).strip().partition("\n")[0]
            raise InputError(
                f"{path}: unreadable ({line}); give a folder in which a formation study has"
                " measured a step"
            ) from error
        if table.schema.names != schema.names:
            raise InputError(
                f"{path}: its columns are {', '.join(table.schema.names)}; give a folder that a"
                " formation study has written"
            )
        frames.append(table.to_pandas())
    concepts, neurons = frames
    whole = neurons["step"].isin(concepts["step"])
    return concepts, neurons[whole].reset_index(drop=True)


def neuron_sets(neurons: pd.DataFrame) -> Sets:
    """The (layer, neuron) pairs of each (step, concept) that has any."""
    found: Sets = {}
    rows = neurons[["step", "concept", "layer", "neuron"]].itertuples(index=False)
    for step, concept, layer, neuron in rows:
        found.setdefault((step, concept), set()).add((layer, neuron))
    return found


def compared(concepts: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """With the Jaccard index of a concept's neurons with those one step before, and at the last."""
    sets = neuron_sets(neurons)
    steps = sorted(concepts["step"].unique().tolist())
    previous: dict[int, int | None] = dict(zip(steps, [None, *steps[:-1]], strict=True))
    found: dict[str, list[float]] = {
        "jaccard_with_previous": [],
        "jaccard_with_last": [],
    }
    for step, concept in concepts[["step", "concept"]].itertuples(index=False):
        own = sets.get((step, concept), set())
        for name, other in zip(found, (previous[step], steps[-1]), strict=True):
            there = None if other is None else sets.get((other, concept), set())
            found[name].append(float("nan") if there is None else jaccard(own, there))
    return concepts.assign(**found)


def jaccard(one: set[tuple[int, int]], other: set[tuple[int, int]]) -> float:
    """|A ∩ B| / |A ∪ B|; two empty sets have none (NaN, in the file no value)."""
    both = one | other
    return len(one & other) / len(both) if both else float("nan")
