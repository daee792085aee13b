"""The files of a run folder → checked data frames."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kn_lightning.digests import check_tables
from kn_lightning.errors import InputError
from kn_lightning.report.environment import run_environment
from kn_lightning.schema import (
    ADDED_COLUMNS,
    ASKED_BY,
    OPTIONAL_TABLES,
    SCHEMA_VERSION,
    SKIPPED_TABLE,
    TABLES,
    completed,
)

SCHEMAS = {**TABLES, **OPTIONAL_TABLES, "skipped": SKIPPED_TABLE}
FILES = (
    "config.yaml",
    "environment.json",
    *(f"{name}.parquet" for name in SCHEMAS if name not in OPTIONAL_TABLES),
)
"""What a finished run folder holds before it is reported."""

# Keys repeat thousands of times: as categories they take a tenth of the memory and group faster.
_CATEGORIES = ("concept", "prompt_id", "prompt_kind", "edit", "neurons")

_REMEDY = "delete it, then run the command that made the run"
"""A finished run without a table is computed again."""

_TOP = ("top", "top_random")


@dataclass(frozen=True, slots=True)
class RunTables:
    """What a run folder says, one frame per table of the schema that the report needs.

    Attributes:
        name: Name of the run folder.
        prompts: One row a prompt.
        completeness: One row a prompt and layer.
        coarse: One row a prompt and coarse neuron, without its score.
        neurons: One row a concept and knowledge neuron.
        edits: One row a prompt, edit and set of neurons, without those of ``top``.
        top: As ``edits``, of the best neurons and as many random ones, by their number; with the
            number ``k``, and the source without it: top, or top_random:draw.
        skipped: One row for what was left out; ``prompt`` is null for a whole concept.
        agreement: One row a prompt and compared attribution; none where no comparison was asked.
        environment: ``environment.json``.
        weight_edits: One row a prompt, weight edit and set of neurons; None where not asked for.
        values: One row a concept and neuron, its own or random; None where not asked for.
    """

    name: str
    prompts: pd.DataFrame
    completeness: pd.DataFrame
    coarse: pd.DataFrame
    neurons: pd.DataFrame
    edits: pd.DataFrame
    top: pd.DataFrame
    skipped: pd.DataFrame
    agreement: pd.DataFrame
    environment: dict[str, Any]
    weight_edits: pd.DataFrame | None = None
    values: pd.DataFrame | None = None


def run_tables(run_dir: Path) -> RunTables:
    """The tables of a finished run.

    Raises:
        InputError: A file is missing, unreadable, of another schema or not as the run wrote it.
    """
    check_files(run_dir, FILES)
    environment = run_environment(run_dir / "environment.json")
    asked = [
        name
        for name, setting in ASKED_BY.items()
        if environment["study"].get(setting.partition(".")[2])
    ]
    check_files(run_dir, tuple(f"{name}.parquet" for name in asked))
    check_tables(run_dir, environment, str(run_dir))
    edits, top = _without_top(_frame(run_dir, "edits", _CATEGORIES))
    return RunTables(
        name=run_dir.resolve().name,
        environment=environment,
        prompts=_frame(run_dir, "prompts"),
        completeness=_frame(run_dir, "completeness"),
        # The largest table: what nothing here needs is not read.
        coarse=_frame(run_dir, "coarse", ("prompt_id",), without=("score",)),
        neurons=_frame(run_dir, "neurons"),
        edits=edits,
        top=top,
        skipped=_frame(run_dir, "skipped"),
        agreement=(
            _frame(run_dir, "agreement")
            if "agreement" in asked
            else OPTIONAL_TABLES["agreement"].empty_table().to_pandas()
        ),
        weight_edits=(
            _frame(run_dir, "weight_edits", _CATEGORIES) if "weight_edits" in asked else None
        ),
        values=_frame(run_dir, "values", ("concept", "neurons")) if "values" in asked else None,
    )


def check_files(run_dir: Path, files: tuple[str, ...]) -> None:
    """Raise InputError unless the folder and these files in it are there."""
    if not run_dir.is_dir():
        raise InputError(f"{run_dir}: no such folder; give the run folder that analyze.py wrote")
    missing = [name for name in files if not (run_dir / name).is_file()]
    if missing:
        names = ", ".join(missing)
        raise InputError(
            f"{run_dir}: not a finished run, {names} missing; "
            f"finish it with `python analyze.py --run_dir {run_dir}` and the settings it began with"
        )


def _check_columns(path: Path, expected: pa.Schema) -> list[str]:
    """Those of the expected columns that are there."""
    try:
        found = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({_line(error)}); {_REMEDY}"
        ) from error
    missing = sorted({*expected.names} - {*found.names, *ADDED_COLUMNS}, key=expected.names.index)
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)} (schema {SCHEMA_VERSION}); "
            f"report it with the kn_lightning version that wrote it, or {_REMEDY}"
        )
    return [name for name in expected.names if name in found.names]


def checked_table(run_dir: Path, name: str, columns: Collection[str] | None = None) -> pa.Table:
    """Columns of a run's table, all unless said, in the types of the schema.

    Raises:
        InputError: the file is missing or unreadable, or a column is missing or of another type.
    """
    path = run_dir / f"{name}.parquet"
    expected = pa.schema(
        [field for field in SCHEMAS[name] if columns is None or field.name in columns]
    )
    there = _check_columns(path, expected)
    try:
        table = completed(pq.read_table(path, columns=there), expected)
        return table.select(expected.names).cast(expected)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read ({_line(error)}); {_REMEDY}") from error


def _frame(
    run_dir: Path, name: str, categories: tuple[str, ...] = (), without: tuple[str, ...] = ()
) -> pd.DataFrame:
    columns = [column for column in SCHEMAS[name].names if column not in without]
    frame: pd.DataFrame = checked_table(run_dir, name, columns).to_pandas(
        categories=list(categories)
    )
    # Means over float32 columns would be summed in float32.
    return frame.astype({column: "float64" for column in frame.select_dtypes("float32").columns})


def _without_top(edits: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The edits of sets of neurons, and those of the k best: no set that others are beside."""
    names = edits["neurons"].cat.categories
    parts = {name: name.split(":") for name in names if name.partition(":")[0] in _TOP}
    is_top = edits["neurons"].isin([*parts])
    rows, top = edits[~is_top].copy(), edits[is_top].copy()
    rows["neurons"] = rows["neurons"].cat.remove_unused_categories()
    found = [parts[name] for name in top["neurons"]]
    top["k"] = pd.Series([int(k) for _, k, *_ in found], index=top.index, dtype="int64")
    top["source"] = pd.Series(
        [":".join([first, *draw]) for first, _, *draw in found], index=top.index, dtype="str"
    )
    return rows, top


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
