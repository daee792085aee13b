"""A run folder: a pack is on disk wholly or not at all; studies go on where they were cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from callbacks.commands import analyze, command, no_report, table

from kn_lightning import run_folder
from kn_lightning.errors import InputError
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import ADDED_COLUMNS, OPTIONAL_TABLES, SKIPPED_TABLE, TABLES

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

    monkeypatch.setattr(run_folder.pq, "write_table", fail_half_way)
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

    monkeypatch.setattr(run_folder.pq, "read_table", fail_at_the_fifth)
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


@pytest.mark.parametrize(
    ("changes", "words", "equal"),
    [
        ({"model.rule": "linspace"}, ["model.rule ('adaptive' there, 'linspace' now)"], "refine"),
        ({"refine.threshold": 0.3}, ["refine.threshold (0.2 there, 0.3 now)"], "model"),
        (
            {"refine.threshold": 1, "data.sha256": "cd"},
            ["refine.threshold (0.2", "data.sha256 ('ab' there, 'cd' now)"],
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
        patch.setattr(run_folder.pq, "ParquetWriter", mock.Mock(side_effect=OSError("full")))
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
    assert not folder.parts.exists()


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
        mock.patch.object(run_folder.os, "replace", killed),
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
        mock.patch.object(run_folder.os, "replace", side_effect=[None, OSError("full")]),
        pytest.raises(OSError, match="full"),
    ):
        folder.close(3)
    folder.close(3)
    assert folder.environment()["seconds"] == {"attribution": 4.5, "total": 6.0}


STUDY = ("--data.max_groups", 5, "--data.pack_tokens", 150)
"""Five packs of one concept each."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run in one go."""
    return analyze(tmp_path_factory.mktemp("undisturbed") / "run", *STUDY)


class Interruption(Exception):
    """Something outside stops the study."""


def _after_packs(count: int) -> Iterator[None]:
    yield from [None] * count
    raise Interruption


@pytest.mark.parametrize(
    ("where", "after", "finished"),
    [
        ("refine.RefineCallback.on_predict_batch_end", 0, 0),
        ("edit.EditCallback.on_predict_batch_end", 2, 2),
        ("progress.ProgressCallback.on_predict_batch_end", 2, 3),  # behind the writer
        ("write.WriteCallback.on_predict_batch_end", 4, 4),
        ("write.RunFolder.close", 0, 5),  # everything is computed, nothing joined
        ("write.RunFolder._write_table", 1 + 2, 5),  # two of the tables are joined
    ],
)
def test_interrupted_study_goes_on_and_ends_like_an_undisturbed_one(
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    after: int,
    finished: int,
) -> None:
    run = tmp_path / "run"
    place = f"kn_lightning.callbacks.{where}"
    module, name = place.rsplit(".", 2)[0], place.rsplit(".", 2)[1:]
    original = getattr(getattr(__import__(module, fromlist=[""]), name[0]), name[1])
    calls = _after_packs(after)

    def interrupted(*arguments: Any, **keywords: Any) -> Any:
        next(calls)
        return original(*arguments, **keywords)

    with monkeypatch.context() as patch, no_report():
        patch.setattr(place, interrupted)
        with pytest.raises(Interruption):
            command("analyze.py", *STUDY, "--run_dir", run)
    folder = RunFolder(run)
    assert len(folder.finished_packs()) == finished
    assert not folder.is_complete
    done = command("analyze.py", "report", run)
    assert done.code == 2  # a report of half a study would mislead
    assert done.err.startswith("error: ")

    predicted = mock.Mock(wraps=MaskedLanguageModel.predict_step)
    with monkeypatch.context() as patch:
        patch.setattr(MaskedLanguageModel, "predict_step", lambda *args: predicted(*args))
        analyze(run, *STUDY)
    assert predicted.call_count == 5 - finished  # what is on disk isn't computed again
    assert not folder.parts.exists()
    for name in (*TABLES, "skipped"):
        assert table(run, name) == table(undisturbed, name), name


def test_study_can_be_resumed_on_other_hardware_but_not_with_other_settings(
    undisturbed: Path,
) -> None:
    with no_report():
        for flags in [
            ("--trainer.accelerator", "cpu"),
            ("--progress.interval", 1),
            ("--model.row_tokens", 999),
        ]:
            done = command("analyze.py", *STUDY, *flags, "--run_dir", undisturbed)
            assert done.code == 0, done.err
        for flags in [("--trainer.precision", "bf16-mixed"), ("--model.tolerance", 0.1)]:
            done = command("analyze.py", *STUDY, *flags, "--run_dir", undisturbed)
            assert done.code == 2
            assert str(flags[0]).removeprefix("--") in done.err


def test_changed_data_under_the_same_path_are_another_study(tmp_path: Path) -> None:
    data = tmp_path / "own.jsonl"
    flags = ("--data", "JsonlPrompts", "--data.path", data)
    data.write_text('{"concept": "kitten", "prompts": ["a [MASK] is a young cat."]}\n')
    run = analyze(tmp_path / "run", *flags)
    data.write_text('{"concept": "kitten", "prompts": ["the [MASK] is a young cat."]}\n')
    done = command("analyze.py", *flags, "--run_dir", run)
    assert done.code == 2
    assert "data.sha256" in done.err
