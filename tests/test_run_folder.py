"""A run folder is opened for one study alone, and what is no run is left untouched."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kn_lightning import parts, run_folder
from kn_lightning.errors import InputError
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import SKIPPED_TABLE, TABLES

SECONDS = {"attribution": 1.5, "total": 2.0}
IDENTITY = {"model.rule": "adaptive", "refine.threshold": 0.2, "data.sha256": "ab"}
NO_ROWS = pa.Table.from_pylist([], schema=SKIPPED_TABLE)


def tables(number: int, n_rows: int = 2) -> dict[str, pa.Table]:
    """Tables of one pack; its number is in every row."""
    values: dict[pa.DataType, Any] = {pa.string(): str(number), pa.int32(): number}
    return {
        name: pa.Table.from_pylist(
            [{field.name: values.get(field.type, float(number)) for field in schema}] * n_rows,
            schema=schema,
        )
        for name, schema in TABLES.items()
    }


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """An open run."""
    made = RunFolder(tmp_path / "run")
    made.open({"a": 1}, {"versions": {}}, NO_ROWS, IDENTITY)
    return made


def contents(path: Path) -> dict[str, bytes | None]:
    """Every file and folder below a path."""
    return {
        str(below.relative_to(path)): below.read_bytes() if below.is_file() else None
        for below in sorted(path.rglob("*"))
    }


def test_opening_keeps_config_environment_and_identity(folder: RunFolder) -> None:
    assert (folder.path / "config.yaml").read_text() == "a: 1\n"
    record = folder.environment()
    assert record["schema_version"] == 1
    assert record["identity"] == IDENTITY
    assert pq.read_table(folder.path / "skipped.parquet").schema.equals(SKIPPED_TABLE)
    assert not list(folder.path.glob("*.tmp"))


def test_opening_the_same_study_again_changes_nothing(folder: RunFolder) -> None:
    folder.write_part(0, tables(0), SECONDS)
    before = contents(folder.path)
    RunFolder(folder.path).open({"a": 1}, {"device": "cuda"}, NO_ROWS, dict(IDENTITY))
    assert contents(folder.path) == before


def test_table_of_anothers_in_an_unfinished_run_is_refused_and_left(folder: RunFolder) -> None:
    folder.write_part(0, tables(0), SECONDS)
    with (
        mock.patch("kn_lightning.run_folder.remove_folder", side_effect=OSError("killed")),
        pytest.raises(OSError, match="killed"),
    ):
        folder.close(1)
    (folder.path / "edits.parquet").unlink()
    folder.check([["0", "0"]])  # its own tables are there where one of them is deleted
    (folder.path / "prompts.parquet").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"/prompts.parquet is none of this run's; move it"):
        folder.check([["0", "0"]])
    assert (folder.path / "prompts.parquet").read_bytes() == b"mine"


def test_files_that_a_killed_process_was_writing_are_removed(folder: RunFolder) -> None:
    before = contents(folder.path)
    (folder.path / "scores").mkdir()
    (folder.path / "figures").mkdir()
    for left in (".environment.json", "scores/.000001.safetensors", "figures/.overlap.svg"):
        (folder.path / f"{left}.99.tmp").write_text("half")
    RunFolder(folder.path).open({"a": 1}, {}, NO_ROWS, dict(IDENTITY))
    assert contents(folder.path) == {**before, "scores": None, "figures": None}


def test_a_disk_that_is_full_at_the_first_file_of_a_run_is_said_with_its_name(
    tmp_path: Path,
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        mock.patch.object(Path, "write_text", side_effect=full),
        pytest.raises(OSError, match=r"run/\.lock\.by"),
    ):
        RunFolder(tmp_path / "run").open({}, {}, NO_ROWS, IDENTITY)


@pytest.mark.parametrize(
    ("changes", "words", "equal"),
    [
        ({"model.rule": "linspace"}, ["model.rule ('adaptive' there, 'linspace' now)"], "refine"),
        ({"refine.threshold": 0.3}, ["refine.threshold (0.2 there, 0.3 now)"], "model"),
        (
            {"refine.threshold": 1, "data.sha256": "cd"},
            ["refine.threshold (0.2 there, 1 now), data.sha256. Give"],
            "model",
        ),
        ({"model.nodes": 5}, ["model.nodes (None there, 5 now)"], "model.rule"),
        ({"model.rule": None}, ["model.rule ('adaptive' there, None now)"], "refine"),
    ],
)
def test_another_study_is_refused_with_the_differing_keys(
    folder: RunFolder, changes: dict[str, Any], words: list[str], equal: str
) -> None:
    before = contents(folder.path)
    with pytest.raises(InputError) as caught:
        RunFolder(folder.path).open({}, {}, NO_ROWS, IDENTITY | changes)
    assert str(folder.path) in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    assert f"{equal}." not in str(caught.value).replace("model.nodes", "")
    assert contents(folder.path) == before


def _holds_a_file(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("do not touch")


def _holds_a_folder(path: Path) -> None:
    (path / "photos").mkdir(parents=True)


def _is_a_file(path: Path) -> None:
    path.write_text("do not touch")


def _has_anothers_environment(path: Path) -> None:
    path.mkdir()
    (path / "environment.json").write_text('{"conda": true}')


def _has_a_torn_environment(path: Path) -> None:
    path.mkdir()
    (path / "environment.json").write_text('{"identity": {"model.ru')


def _has_a_number_for_an_identity(path: Path) -> None:
    path.mkdir()
    (path / "environment.json").write_text('{"identity": 5}')


def _has_no_identity(path: Path) -> None:
    path.mkdir()
    (path / "environment.json").write_text('{"identity": null}')


def _has_an_endless_environment(path: Path) -> None:
    path.mkdir()
    (path / "environment.json").write_text("[" * 100_000)


def _has_a_list_for_an_environment(path: Path) -> None:
    path.mkdir()
    (path / "environment.json").write_text("[1, 2]")


@pytest.mark.parametrize(
    "make",
    [
        _holds_a_file,
        _holds_a_folder,
        _is_a_file,
        _has_anothers_environment,
        _has_a_number_for_an_identity,
        _has_no_identity,
        _has_an_endless_environment,
        _has_a_torn_environment,
        _has_a_list_for_an_environment,
    ],
)
def test_what_is_no_run_is_refused_and_left_untouched(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "precious"
    make(path)
    before = contents(tmp_path)
    with pytest.raises(InputError) as caught:
        RunFolder(path).open({}, {}, NO_ROWS, IDENTITY)
    assert str(path) in str(caught.value)
    assert "--run_dir" in str(caught.value)
    assert contents(tmp_path) == before


def test_empty_folder_and_missing_parents_are_made_a_run(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "one" / "two"):
        RunFolder(path).open({}, {}, NO_ROWS, IDENTITY)
        assert json.loads((path / "environment.json").read_text())["identity"] == IDENTITY


def test_parent_that_is_a_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Not a directory"):
        RunFolder(tmp_path / "file" / "run").open({}, {}, NO_ROWS, IDENTITY)


def test_run_cut_off_while_it_is_opened_goes_on_like_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(parts.pq, "ParquetWriter", mock.Mock(side_effect=OSError("full")))
        with pytest.raises(OSError, match="full"):
            RunFolder(path).open({"a": 1}, {"versions": {}}, NO_ROWS, IDENTITY)
    cut_off = RunFolder(path)
    assert not cut_off.is_complete
    assert cut_off.finished_packs() == frozenset()
    cut_off.open({"a": 1}, {"versions": {}}, NO_ROWS, IDENTITY)
    fresh = RunFolder(tmp_path / "fresh")
    fresh.open({"a": 1}, {"versions": {}}, NO_ROWS, IDENTITY)
    assert contents(path) == contents(fresh.path)


def test_run_cut_off_while_parts_are_removed_is_tidied_up(folder: RunFolder) -> None:
    folder.write_part(0, tables(0), SECONDS)
    with (
        mock.patch.object(run_folder.shutil, "rmtree", side_effect=OSError("killed")),
        pytest.raises(OSError, match="killed"),
    ):
        folder.close(1)
    assert folder.is_complete
    folder.open({"a": 1}, {"versions": {}}, NO_ROWS, IDENTITY)
    folder.check([["0", "0"]])
    assert not folder.parts.exists()


def test_run_cut_off_while_it_is_closed_goes_on_with_other_settings(folder: RunFolder) -> None:
    folder.write_part(0, tables(0), SECONDS)
    with (
        mock.patch.object(run_folder, "move_whole", side_effect=OSError("killed")),
        pytest.raises(OSError, match="killed"),
    ):
        folder.close(1)
    assert not folder.is_complete
    # Devices, for one, make no other study.
    folder.open({"a": 2}, {"versions": {}}, NO_ROWS, IDENTITY)
    folder.check([["0", "0"]])
    folder.close(1)
    folder.check([["0", "0"]])
    assert (folder.path / "config.yaml").read_text() == "a: 2\n"


def _begun(folder: RunFolder) -> Path:
    """A part that a rank of a killed command is about to move into place."""
    temporary = folder.parts / "000001.99999.tmp"
    temporary.mkdir()
    for name in TABLES:
        (temporary / f"{name}.parquet").write_text("rows")
    return temporary


def _open_again(folder: RunFolder) -> None:
    folder.open({"a": 1}, {"versions": {}}, NO_ROWS, IDENTITY)


def _close(folder: RunFolder) -> None:
    folder.close(1)


def _overwrite(folder: RunFolder) -> None:
    folder.open({"a": 1}, {"versions": {}}, NO_ROWS, IDENTITY, overwrite=True)


def _moves(temporary: Path) -> None:
    temporary.rename(temporary.with_name("000001"))


def _adds(temporary: Path) -> None:
    (temporary / "late.parquet").write_text("rows")


@contextmanager
def _meanwhile(call: str, act: Callable[[Path], None], temporary: Path) -> Iterator[list[Path]]:
    """What the rank does as the command removes a first file, or before it renames a folder."""
    original, done = getattr(os, call), []

    def disturbed(*arguments: Any, **more: Any) -> None:
        if call == "unlink":
            original(*arguments, **more)
        if not done:
            done.append(temporary)
            with suppress(FileNotFoundError):  # that rank's fault, which ends it
                act(temporary)
        if call == "rename":
            original(*arguments, **more)

    with mock.patch.object(os, call, disturbed):
        yield done


@pytest.mark.parametrize("command", [_open_again, _close, _overwrite])
@pytest.mark.parametrize("act", [_moves, _adds, shutil.rmtree])
@pytest.mark.parametrize("call", ["rename", "unlink"])
def test_rank_of_a_killed_command_disturbs_no_command_and_moves_no_half(
    folder: RunFolder,
    call: str,
    act: Callable[[Path], None],
    command: Callable[[RunFolder], None],
) -> None:
    folder.write_part(0, tables(0), SECONDS)
    temporary = _begun(folder)
    whole = {path.name for path in temporary.iterdir()}
    (folder.parts / "000002.99999.tmp").mkdir()  # there is something to remove in any case
    (folder.parts / "000002.99999.tmp" / "prompts.parquet").write_text("rows")
    with _meanwhile(call, act, temporary) as done:
        command(folder)
    assert done
    part = folder.parts / "000001"
    assert not part.exists() or {path.name for path in part.iterdir()} == whole
    folder.release()
    again = RunFolder(folder.path)
    _open_again(again)
    assert again.is_complete == (command is _close)
    assert again.is_complete or 0 in again.finished_packs() or command is _overwrite
    assert not list(folder.path.rglob("*.tmp"))


def test_what_was_being_removed_goes_at_the_next_start(folder: RunFolder) -> None:
    folder.write_part(0, tables(0), SECONDS)
    killed = mock.patch("shutil.rmtree", side_effect=OSError("killed"))
    with killed, pytest.raises(OSError, match="killed"):
        folder.close(1)
    folder.release()
    _overwrite(RunFolder(folder.path))  # nor is it in the way of another run
    names = {path.name for path in folder.path.iterdir()}
    assert not {name for name in names if name.endswith(".tmp")}
