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
from kn_lightning.identity import identity_sha256
from kn_lightning.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    import pandas as pd

    from kn_lightning.neuron_sets import Places, Sets

RECORD, CONCEPTS, NEURONS = "formation.json", "formation", "formation_neurons"
STUDY = b"study"
"""Key in a table's metadata: SHA-256 of the identity of its study."""
SKIPPED = "skipped"
"""A table as of a study, of what was left out."""

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
    study = identity_sha256(read_record(folder)["identity"])
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
        # Those of earlier versions don't say it.
        if (table.schema.metadata or {}).get(STUDY, study.encode()) != study.encode():
            raise InputError(
                f"{path}: of another formation than {RECORD} there; give each a folder of its own"
            )
        frames.append(table.replace_schema_metadata(None).to_pandas())
    concepts, neurons = frames
    whole = neurons["step"].isin(concepts["step"])
    return concepts, neurons[whole].reset_index(drop=True)


def concept_sets(concepts: pd.DataFrame, neurons: pd.DataFrame) -> Sets:
    """One row a row of ``concepts``: its neurons among those given, which may be of one layer."""
    import pandas as pd

    from kn_lightning.neuron_sets import row_sets

    keys = ["step", "concept"]
    rows = pd.MultiIndex.from_frame(concepts[keys])
    return row_sets(rows.get_indexer(pd.MultiIndex.from_frame(neurons[keys])), neurons, len(rows))


def rows_at(concepts: pd.DataFrame, steps: pd.Series | int) -> Places:
    """Of each row of ``concepts`` the one of its concept at another step; -1 where none is."""
    import pandas as pd

    rows = pd.MultiIndex.from_frame(concepts[["step", "concept"]])
    there = pd.MultiIndex.from_frame(concepts[["step", "concept"]].assign(step=steps))
    places: Places = rows.get_indexer(there)
    return places


def compared(concepts: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """With the Jaccard index of a concept's neurons with those one step before, and at the last.

    Two empty sets have none (NaN, in the file no value).
    """
    import numpy as np

    from kn_lightning.neuron_sets import jaccard

    sets = concept_sets(concepts, neurons)
    steps = sorted(concepts["step"].unique().tolist())
    before = concepts["step"].map(dict(zip(steps, [-1, *steps[:-1]], strict=True)))
    others = {"jaccard_with_previous": before, "jaccard_with_last": steps[-1]}
    rows = np.arange(len(concepts))
    found = {}
    for name, other in others.items():
        places = rows_at(concepts, other)
        found[name] = np.where(places < 0, np.nan, jaccard(sets, rows, places))
    return concepts.assign(**found)
