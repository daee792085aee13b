"""A pack is on disk wholly or not at all; closing joins all, and can be done again."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_run_folder import IDENTITY, NO_ROWS, SECONDS, contents, tables

from kn_lightning.errors import InputError
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import ADDED_COLUMNS, OPTIONAL_TABLES, TABLES


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """An open run."""
    made = RunFolder(tmp_path / "run")
    made.open({"a": 1}, {"versions": {}}, NO_ROWS, IDENTITY)
    return made


@pytest.mark.parametrize("failing", range(len(TABLES)))
def test_part_whose_writing_fails_is_not_there_at_all(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    folder.write_part(0, tables(0), SECONDS)
    write, written = pq.write_table, []

    def fail_half_way(content: pa.Table, path: Path) -> None:
        if len(written) == failing:
            path.write_bytes(b"PAR1half of it")
            raise OSError("disk full")
        write(content, path)
        written.append(path)

    monkeypatch.setattr(pq, "write_table", fail_half_way)
    with pytest.raises(OSError, match="disk full"):
        folder.write_part(1, tables(1), SECONDS)
    monkeypatch.undo()
    assert folder.finished_packs() == {0}
    with pytest.raises(InputError, match="1 of 2 packs"):
        folder.close(2)
    # What is left of the attempt stands in nobody's way, not even with the same process id.
    folder.write_part(1, tables(1), SECONDS)
    assert folder.finished_packs() == {0, 1}
    folder.close(2)
    assert pq.read_table(folder.path / "prompts.parquet")["n_tokens"].to_pylist() == [0, 0, 1, 1]


def test_folder_of_a_killed_process_counts_for_nothing(folder: RunFolder) -> None:
    killed = folder.parts / f"000003.{os.getpid()}.tmp"
    killed.mkdir()
    (killed / "prompts.parquet").write_bytes(b"half")
    assert folder.finished_packs() == frozenset()
    folder.write_part(3, tables(3), SECONDS)
    assert folder.finished_packs() == {3}
    assert pq.read_table(folder.parts / "000003" / "prompts.parquet").equals(tables(3)["prompts"])


def test_closing_joins_the_parts_in_the_studys_order_and_removes_them(folder: RunFolder) -> None:
    # Ranks finish in any order; beyond nine packs names and numbers could sort differently.
    for number in (10, 2, 11, 0, 5, 1, 9, 3, 8, 4, 7, 6):
        folder.write_part(number, tables(number, n_rows=number % 3), SECONDS)
    assert not folder.is_complete
    folder.close(12)
    folder.release()
    assert folder.is_complete
    assert not folder.parts.exists()
    for name, schema in TABLES.items():
        joined = pq.read_table(folder.path / f"{name}.parquet")
        expected = pa.concat_tables([tables(n, n % 3)[name] for n in range(12)])
        assert joined.schema.equals(schema)
        assert joined.equals(expected)
    names = {path.name for path in folder.path.iterdir()}
    whole = {f"{name}.parquet" for name in TABLES}
    assert names == whole | {"skipped.parquet", "config.yaml", "environment.json"}


def test_closing_without_a_pack_is_an_error_and_changes_nothing(folder: RunFolder) -> None:
    for number in (0, 2, 4):
        folder.write_part(number, tables(number), SECONDS)
    before = contents(folder.path)
    with pytest.raises(InputError, match="2 of 5 packs are not computed"):
        folder.close(5)
    assert contents(folder.path) == before


def test_closing_that_fails_can_be_done_again(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        folder.write_part(number, tables(number), SECONDS)
    read, count = pq.read_table, iter(range(100))

    def fail_at_the_fifth(file: Path) -> pa.Table:
        if next(count) == 4:
            raise OSError("stale handle")
        return read(file)

    monkeypatch.setattr(pq, "read_table", fail_at_the_fifth)
    with pytest.raises(OSError, match="stale"):
        folder.close(3)
    monkeypatch.undo()
    assert not folder.is_complete
    assert folder.finished_packs() == {0, 1, 2}
    folder.close(3)
    assert folder.is_complete
    for name in TABLES:
        expected = pa.concat_tables([tables(n)[name] for n in range(3)])
        assert pq.read_table(folder.path / f"{name}.parquet").equals(expected)


def test_run_is_complete_with_the_tables_that_its_study_asks_for(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.open({"a": 1}, {"versions": {}}, NO_ROWS, {**IDENTITY, "model.compare": ["ablation"]})
    schema = OPTIONAL_TABLES["agreement"]
    row = {field.name: "a" if field.type == pa.string() else 1 for field in schema}
    asked = pa.Table.from_pylist([row], schema=schema)
    for number in range(2):
        folder.write_part(number, {**tables(number), "agreement": asked}, SECONDS)
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if target.stem == "agreement":
            raise OSError("killed")
        replace(source, target)

    with (
        mock.patch.object(os, "replace", killed),
        pytest.raises(OSError, match="killed"),
    ):
        folder.close(2)
    assert (folder.path / f"{list(TABLES)[-1]}.parquet").is_file()
    assert not folder.is_complete
    folder.close(2)
    assert folder.is_complete
    assert pq.read_table(folder.path / "agreement.parquet").equals(pa.concat_tables([asked] * 2))


def test_seconds_of_all_packs_add_up_even_when_closing_is_done_twice(folder: RunFolder) -> None:
    for number in range(3):
        folder.write_part(number, tables(number), SECONDS)
    with (
        mock.patch.object(os, "replace", side_effect=[None, OSError("full")]),
        pytest.raises(OSError, match="full"),
    ):
        folder.close(3)
    folder.close(3)
    assert folder.environment()["seconds"] == {"attribution": 4.5, "total": 6.0}


def test_a_run_begun_before_a_column_was_added_is_closed_with_nulls_there(
    folder: RunFolder,
) -> None:
    old = tables(0)
    old["prompts"] = old["prompts"].drop_columns([*ADDED_COLUMNS])
    folder.write_part(0, old, SECONDS)
    folder.write_part(1, tables(1), SECONDS)
    folder.close(2)
    joined = pq.read_table(folder.path / "prompts.parquet")
    assert joined.schema.equals(TABLES["prompts"])
    assert joined["n_tokens"].to_pylist() == [0, 0, 1, 1]
    for name in ADDED_COLUMNS:
        assert joined[name].to_pylist() == [None, None, 1.0, 1.0]
