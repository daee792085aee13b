"""What a formation study has measured, on disk: two tables and what they were made with.

``formation.parquet`` has one row a step and concept, ``formation_neurons.parquet`` one row a step,
concept and knowledge neuron. Both are written anew, whole, behind every step: a training that is
stopped leaves all steps before, and a step is there wholly or not at all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kn_lightning.errors import InputError
from kn_lightning.files import checked_path, write_whole
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
"""Columns of both tables; the README says what they mean."""

Sets = dict[tuple[int, str], set[tuple[int, int]]]


class FormationRecord:
    """A folder of one formation study.

    Args:
        path: the folder; made when the first step is written.
        flag: that named the folder, for messages.
    """

    def __init__(self, path: Path, flag: str = "formation.folder") -> None:
        self.path = checked_path(flag, path)
        self.flag = flag
        self._content: dict[str, Any] = {}

    def check(self, identity: dict[str, Any], go_on: bool) -> None:
        """Raise InputError unless the folder can take this study.

        Args:
            identity: what makes the study what it is, flat.
            go_on: whether steps of the same study may be there already.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.flag} {self.path} is a file; give a folder")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return
        if not (self.path / RECORD).is_file():
            raise InputError(
                f"{self.flag} {self.path} holds other things than a formation; give a new folder"
            )
        if not go_on:
            raise InputError(
                f"{self.flag} {self.path} holds a formation already; give a new folder, or move"
                " that one away"
            )
        known = read_record(self.path)["identity"]
        differing = sorted(
            key for key in {*known, *identity} if known.get(key) != identity.get(key)
        )
        if differing:
            raise InputError(
                f"{self.flag} {self.path} holds another formation: it differs in"
                f" {', '.join(differing)}; give a new folder, or its settings"
            )

    def begin(self, identity: dict[str, Any], made_with: dict[str, Any]) -> None:
        """Say what the study is and what it was made with; the folder has been checked."""
        content = {"schema_version": SCHEMA_VERSION, "identity": identity, **made_with}
        try:
            write_whole(self.path / RECORD, json.dumps(content, indent=1, ensure_ascii=False))
        except OSError as error:
            raise InputError(f"{self.flag} {self.path}: {error.strerror}") from error

    def checkpoints(self) -> dict[int, str | None]:
        """The checkpoint of each step that is there."""
        if not (self.path / f"{CONCEPTS}.parquet").is_file():
            return {}
        concepts, _ = read_tables(self.path)
        return dict(zip(concepts["step"], concepts["checkpoint"], strict=True))

    def add(self, concepts: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
        """Put a step to those that are there.

        Args:
            concepts: rows of ``formation.parquet``, without comparisons with other steps.
            neurons: rows of ``formation_neurons.parquet``.

        Returns:
            All rows of ``formation.parquet`` now.
        """
        import pandas as pd

        if (self.path / f"{CONCEPTS}.parquet").is_file():
            before, neurons_before = read_tables(self.path)
            concepts = pd.concat([before[list(concepts.columns)], concepts])
            neurons = pd.concat([neurons_before, neurons])
        # Stable: concepts stay in the order of their groups.
        concepts = concepts.sort_values("step", kind="stable", ignore_index=True)
        neurons = neurons.sort_values("step", kind="stable", ignore_index=True)
        concepts = _compared(concepts, neurons)
        # Neurons first: what has no row in the other table is not read.
        self._write(NEURONS, neurons)
        self._write(CONCEPTS, concepts)
        return concepts

    def _write(self, name: str, frame: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(frame, schema=TABLES[name], preserve_index=False)
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata(None), sink)
        write_whole(self.path / f"{name}.parquet", sink.getvalue().to_pybytes())


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


def _compared(concepts: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
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
