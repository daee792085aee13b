"""Unfinished or broken run folders → one line that says what is wrong and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kn_lightning.digests import DIGESTS, digest
from kn_lightning.errors import InputError
from kn_lightning.neuron_json import write_neurons
from kn_lightning.report.environment import run_environment
from kn_lightning.report.tables import FILES, run_tables
from kn_lightning.schema import ADDED_COLUMNS, TABLES

from .runs import numbers_of


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_named(run_dir: Path, name: str) -> None:
    (run_dir / name).unlink()
    with pytest.raises(InputError) as caught:
        run_tables(run_dir)
    message = str(caught.value)
    assert name in message
    assert str(run_dir) in message
    assert "analyze.py --run_dir" in message
    assert "\n" not in message


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        run_tables(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["edits", "coarse", "skipped"])
def test_broken_parquet_is_named(run_dir: Path, name: str) -> None:
    (run_dir / f"{name}.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match=f"{name}.parquet.*delete it, then run the command"):
        run_tables(run_dir)


def test_table_that_is_not_as_the_run_wrote_it_is_named(run_dir: Path) -> None:
    path = run_dir / "environment.json"
    environment = json.loads(path.read_text(encoding="utf-8"))
    tables = {f"{name}.parquet": digest(run_dir / f"{name}.parquet") for name in TABLES}
    path.write_text(json.dumps({**environment, DIGESTS: tables}), encoding="utf-8")
    assert len(run_tables(run_dir).neurons) == 5
    changed = run_dir / "neurons.parquet"
    pq.write_table(pq.read_table(changed).slice(0, 2), changed)
    for read in (run_tables, lambda run: write_neurons(run, run / "neurons.json")):
        with pytest.raises(InputError) as caught:
            read(run_dir)
        said = "is not as the run wrote it; delete it, then run the same command"
        assert str(caught.value) == f"{changed} {said}"


def test_missing_column_is_named(run_dir: Path) -> None:
    path = run_dir / "neurons.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["share"]), path)
    with pytest.raises(InputError, match="neurons.parquet: no column share"):
        run_tables(run_dir)


def test_run_of_before_a_column_was_added_is_reported_without_it(run_dir: Path) -> None:
    path = run_dir / "prompts.parquet"
    pq.write_table(pq.read_table(path).drop_columns([*ADDED_COLUMNS]), path)
    frame = run_tables(run_dir).prompts
    assert frame[[*ADDED_COLUMNS]].isna().all(axis=None)
    assert numbers_of(run_dir)["similarity"] is None


def test_column_of_another_kind_is_refused(run_dir: Path) -> None:
    path = run_dir / "neurons.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, "layer", pa.array(["a"] * len(table))), path)
    with pytest.raises(InputError, match="neurons.parquet: cannot be read"):
        run_tables(run_dir)


def test_wider_types_and_further_columns_are_read(run_dir: Path) -> None:
    path = run_dir / "neurons.parquet"
    table = pq.read_table(path)
    wide = table.set_column(1, "layer", table["layer"].cast(pa.int64()))
    pq.write_table(wide.append_column("later", table["layer"]), path)
    assert list(run_tables(run_dir).neurons["layer"]) == [3, 3, 1, 3, 3]


def test_environment_that_cannot_be_read_is_not_called_broken(run_dir: Path) -> None:
    denied = mock.patch.object(Path, "read_text", side_effect=PermissionError(13, "not allowed"))
    with denied, pytest.raises(InputError, match=r"environment.json: not allowed; see that it"):
        run_environment(run_dir / "environment.json")


def test_broken_json_is_named(run_dir: Path) -> None:
    (run_dir / "environment.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="environment.json: not valid JSON"):
        run_tables(run_dir)


def test_other_schema_version_is_refused(run_dir: Path) -> None:
    path = run_dir / "environment.json"
    environment = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**environment, "schema_version": 2}), encoding="utf-8")
    with pytest.raises(InputError, match="schema_version is 2"):
        run_tables(run_dir)


def test_missing_keys_of_the_environment_are_named(run_dir: Path) -> None:
    path = run_dir / "environment.json"
    environment = json.loads(path.read_text(encoding="utf-8"))
    del environment["study"]["tolerance"], environment["precision"]
    path.write_text(json.dumps(environment), encoding="utf-8")
    with pytest.raises(InputError, match=r"no precision, study\.tolerance"):
        run_tables(run_dir)
