"""What lies among a run's parts is theirs and whole, or it is reported and never read."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kn_lightning.census import RECORD, check_names
from kn_lightning.errors import InputError
from kn_lightning.files import move_whole
from kn_lightning.part_names import scores_file
from kn_lightning.parts import write_part
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import SKIPPED_TABLE, TABLES

PLAN = [["kitten/0", "kitten/1"], ["puppy/0"]]


def write(
    folder: RunFolder,
    number: int,
    ids: list[str],
    coarse: str,
    concept: str,
    scores: bytes | None = None,
) -> None:
    """A part with one row of coarse neurons, and one of knowledge neurons."""
    tables = {
        "completeness": TABLES["completeness"].empty_table(),
        "prompts": pa.table({"prompt_id": ids, "concept": [i.split("/")[0] for i in ids]}),
        "coarse": pa.table({"prompt_id": [coarse], "layer": [0]}),
        "neurons": pa.table({"concept": [concept], "layer": [0]}),
        # Of another pack's prompt: that is no fault.
        "edits": pa.table({"concept": ["wool"], "prompt_id": ["wool/0"], "prompt_kind": ["other"]}),
    }
    folder.write_part(number, tables, {"total": 1.0}, scores)


def open_again(folder: RunFolder) -> None:
    folder.open({}, {}, SKIPPED_TABLE.empty_table(), {"model.rule": "adaptive"})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """An open run with both packs."""
    made = RunFolder(tmp_path / "run")
    open_again(made)
    write(made, 0, PLAN[0], "kitten/1", "kitten")
    write(made, 1, PLAN[1], "puppy/0", "puppy")
    return made


def test_parts_as_they_were_written_pass(folder: RunFolder) -> None:
    folder.check(PLAN)


def _cut(part: Path) -> None:
    content = (part / "coarse.parquet").read_bytes()
    (part / "coarse.parquet").write_bytes(content[: len(content) // 2])


def _changed(part: Path) -> None:
    content = bytearray((part / "neurons.parquet").read_bytes())
    content[20] ^= 1
    (part / "neurons.parquet").write_bytes(content)


def _lost(part: Path) -> None:
    (part / "coarse.parquet").unlink()


def _added(part: Path) -> None:
    (part / "notes.txt").write_text("mine")


def _without_record(part: Path) -> None:
    (part / RECORD).unlink()


def _with_half_a_record(part: Path) -> None:
    (part / RECORD).write_text('{"seconds"')


def _with_anothers_record(part: Path) -> None:
    (part / RECORD).write_text(json.dumps([1]))


def _changed_record(part: Path, **changes: object) -> None:
    record = json.loads((part / RECORD).read_text())
    (part / RECORD).write_text(json.dumps({**record, **changes}))


def _of_another_study(part: Path) -> None:
    """As it is copied from the run of one that asks the same prompts."""
    _changed_record(part, study="ab" * 32)


def _without_seconds(part: Path) -> None:
    _changed_record(part, seconds=None)


def _with_words_for_seconds(part: Path) -> None:
    _changed_record(part, seconds={"total": "long"})


def _with_seconds(value: object) -> Callable[[Path], None]:
    return lambda part: _changed_record(part, seconds={"total": value, "edits": 1.5})


def _with_a_pipe(part: Path) -> None:
    os.mkfifo(part / "notes")


def _with_a_link(part: Path) -> None:
    (part / "coarse.parquet").rename(part.parent.parent / "coarse.parquet.tmp")
    (part / "coarse.parquet").symlink_to(part.parent.parent / "coarse.parquet.tmp")


def _without_a_table_and_its_digest(part: Path) -> None:
    (part / "edits.parquet").unlink()
    digests = json.loads((part / RECORD).read_text())["sha256"]
    _changed_record(part, sha256={name: own for name, own in digests.items() if name[0] != "e"})


def _nested_without_end(part: Path) -> None:
    (part / RECORD).write_text("[" * 100_000)


def _copied_from_another(part: Path) -> None:
    shutil.rmtree(part)
    shutil.copytree(part.with_name("000001"), part)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_cut, "torn: coarse.parquet is not as it was written"),
        (_changed, "torn: neurons.parquet is not"),
        (_lost, "torn: coarse.parquet is not"),
        (_added, "torn: notes.txt is not"),
        (_without_record, "torn"),
        (_with_half_a_record, "torn"),
        (_with_anothers_record, "torn"),
        (_of_another_study, "is of another study"),
        (_without_seconds, "torn"),
        (_with_words_for_seconds, "torn: seconds of its pack.json"),
        (_with_seconds(10**400), "torn: seconds of its pack.json"),
        (_with_seconds(math.nan), "torn: seconds of its pack.json"),
        (_with_seconds(-1), "torn: seconds of its pack.json"),
        (_with_seconds(True), "torn: seconds of its pack.json"),
        (_with_a_pipe, "torn: notes is no file"),
        (_with_a_link, "torn: coarse.parquet is no file"),
        (_without_a_table_and_its_digest, "torn: edits.parquet is missing"),
        (_nested_without_end, "torn"),
        (_copied_from_another, "holds other prompts"),
    ],
)
def test_part_that_is_not_as_it_was_written_is_named_with_the_remedy(
    folder: RunFolder, spoil: Callable[[Path], None], said: str
) -> None:
    part = folder.parts / "000000"
    spoil(part)
    with pytest.raises(InputError) as caught:
        folder.check(PLAN)
    assert str(caught.value).startswith(f"{part} ")
    assert said in str(caught.value)
    assert "delete it" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "are missing"), (b"torn", "are not as they were written")]
)
def test_scores_that_are_not_as_they_were_written_are_named_with_the_remedy(
    folder: RunFolder, content: bytes | None, said: str
) -> None:
    shutil.rmtree(folder.parts / "000001")
    write(folder, 1, PLAN[1], "puppy/0", "puppy", b"scores")
    scores = folder.path / "scores" / "000001.safetensors"
    assert scores.read_bytes() == b"scores"
    folder.check(PLAN)
    scores.unlink()
    if content is not None:
        scores.write_bytes(content)
    with pytest.raises(InputError) as caught:
        folder.check(PLAN)
    assert str(caught.value) == (
        f"{folder.parts / '000001'} is torn: its scores, scores/000001.safetensors, {said};"
        " delete it to have that pack computed again, then run the same command"
    )


@pytest.mark.parametrize(
    "name",
    ["000002", "photos", "000000.old", "1", "0000001", "²", "00000²", "٠٠٠٠٠١", "+00001", "x.tmp"]
    + ["000001.tmp", "1.77.tmp"],
)
@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_what_is_no_part_of_the_study_is_named_and_left(
    folder: RunFolder, name: str, make: Callable[[Path], None]
) -> None:
    make(folder.parts / name)
    open_again(folder)
    assert folder.finished_packs() - {2} == {0, 1}
    with pytest.raises(InputError) as caught:
        folder.check(PLAN)
    assert str(caught.value) == (
        f"{folder.parts / name} is none of this study's; move it elsewhere, then run the same"
        " command"
    )
    assert (folder.parts / name).exists()


def test_part_under_another_name_does_not_count(folder: RunFolder) -> None:
    (folder.parts / "000001").rename(folder.parts / "1")
    assert folder.finished_packs() == {0}
    with pytest.raises(InputError, match=f"{folder.parts / '1'} is none of this study's"):
        folder.check(PLAN)


def test_all_that_is_strange_is_named_at_once_even_in_a_finished_run(folder: RunFolder) -> None:
    with (
        mock.patch("kn_lightning.run_folder.remove_folder", side_effect=OSError("killed")),
        pytest.raises(OSError, match="killed"),
        mock.patch.object(folder, "_files", return_value={}),
    ):
        folder.close(2)
    (folder.parts / "mine.tmp").mkdir()
    (folder.parts / "notes").touch()
    open_again(folder)
    with (
        mock.patch.object(folder, "_files", return_value={}),
        pytest.raises(InputError, match="mine.tmp, notes is none of this study's"),
    ):
        folder.check(PLAN)
    assert (folder.parts / "mine.tmp").is_dir()


@pytest.mark.parametrize(
    ("coarse", "concept", "orphan"),
    [("kitten/7", "kitten", "kitten/7"), ("kitten/0", "wool", "wool")],
)
def test_rows_without_their_prompt_or_concept_are_orphans(
    folder: RunFolder, coarse: str, concept: str, orphan: str
) -> None:
    shutil.rmtree(folder.parts / "000000")
    write(folder, 0, PLAN[0], coarse, concept)
    with pytest.raises(InputError, match=f"rows of '{orphan}'"):
        folder.check(PLAN)


def test_part_that_another_rank_has_written_meanwhile_is_kept(folder: RunFolder) -> None:
    with mock.patch.object(folder, "_has_part", return_value=False):  # it was asked just before
        write(folder, 1, PLAN[1], "puppy/0", "other")
    folder.check(PLAN)
    (row,) = pq.read_table(folder.parts / "000001" / "neurons.parquet").to_pylist()
    assert row["concept"] == "puppy"


@pytest.mark.parametrize("asked_before", [False, True])
def test_scores_and_part_are_of_one_rank_where_two_compute_a_pack(
    folder: RunFolder, asked_before: bool
) -> None:
    shutil.rmtree(folder.parts / "000001")
    write(folder, 1, PLAN[1], "puppy/0", "puppy", b"scores")
    with ExitStack() as stack:
        if asked_before:
            stack.enter_context(mock.patch.object(folder, "_has_part", return_value=False))
        write(folder, 1, PLAN[1], "puppy/0", "puppy", b"rounded otherwise")
    folder.check(PLAN)
    kept = (folder.path / scores_file(1)).read_bytes()
    assert kept == (b"rounded otherwise" if asked_before else b"scores")


def test_rank_whose_scores_another_has_replaced_keeps_its_hands_off(folder: RunFolder) -> None:
    shutil.rmtree(folder.parts / "000001")

    def overtaken(*arguments: Any) -> None:
        with mock.patch("kn_lightning.run_folder.write_part", write_part):
            write(folder, 1, PLAN[1], "puppy/0", "puppy", b"rounded otherwise")
        write_part(*arguments)

    with mock.patch("kn_lightning.run_folder.write_part", overtaken):
        write(folder, 1, PLAN[1], "puppy/0", "puppy", b"scores")
    folder.check(PLAN)
    assert (folder.path / scores_file(1)).read_bytes() == b"rounded otherwise"


def test_rank_that_outlives_its_run_leaves_the_scores_of_the_finished_one(
    folder: RunFolder,
) -> None:
    shutil.rmtree(folder.parts / "000001")
    write(folder, 1, PLAN[1], "puppy/0", "puppy", b"scores")
    rows = [pa.table({"a": [1]})]
    with mock.patch("kn_lightning.run_folder.joined_rows", return_value=rows):
        folder.close(2)
    write(folder, 1, PLAN[1], "puppy/0", "puppy", b"rounded otherwise")
    open_again(folder)
    folder.check(PLAN)
    assert (folder.path / scores_file(1)).read_bytes() == b"scores"


def test_rank_that_outlived_its_study_writes_nothing_into_the_next(folder: RunFolder) -> None:
    folder.release()
    other = RunFolder(folder.path)
    other.open({}, {}, SKIPPED_TABLE.empty_table(), {"model.rule": "linspace"}, overwrite=True)
    with pytest.raises(InputError, match=r"holds another study by now, .* pack 0 isn't written"):
        write(folder, 0, PLAN[0], "kitten/1", "kitten", b"scores")
    assert other.finished_packs() == frozenset()
    assert not (folder.path / "scores").exists()


def test_part_of_the_study_before_that_came_in_nevertheless_is_replaced(folder: RunFolder) -> None:
    folder.release()
    other = RunFolder(folder.path)
    other.open({}, {}, SKIPPED_TABLE.empty_table(), {"model.rule": "linspace"}, overwrite=True)
    with mock.patch.object(folder, "_check_study"):  # it was asked just before
        write(folder, 0, PLAN[0], "kitten/1", "kitten")
    with pytest.raises(InputError, match="000000 is of another study; delete it"):
        other.check(PLAN)
    write(other, 0, PLAN[0], "kitten/0", "kitten")
    other.check(PLAN)
    (row,) = pq.read_table(other.parts / "000000" / "coarse.parquet").to_pylist()
    assert row["prompt_id"] == "kitten/0"


def test_what_killed_ranks_left_is_removed_on_opening(folder: RunFolder) -> None:
    (folder.parts / "000001.77.tmp").mkdir()
    open_again(folder)
    assert not (folder.parts / "000001.77.tmp").exists()
    folder.check(PLAN)


def test_part_that_comes_to_its_place_while_names_are_checked_is_no_fault(
    folder: RunFolder,
) -> None:
    temporary = folder.parts / "000001.77.tmp"
    (folder.parts / "000001").rename(temporary)
    listed = sorted(folder.parts.iterdir())
    temporary.rename(folder.parts / "000001")
    with mock.patch.object(Path, "iterdir", return_value=iter(listed)):
        check_names(folder.parts, 2)


def test_rank_whose_part_another_command_has_removed_replaces_none(folder: RunFolder) -> None:
    before = (folder.parts / "000001" / RECORD).read_bytes()

    def removed_meanwhile(temporary: Path, part: Path) -> None:
        shutil.rmtree(temporary)
        move_whole(temporary, part)

    with (
        mock.patch.object(folder, "_check_study"),  # it was asked just before
        mock.patch.object(folder, "study", "another"),
        mock.patch("kn_lightning.parts.move_whole", removed_meanwhile),
        pytest.raises(FileNotFoundError),
    ):
        write(folder, 1, PLAN[1], "puppy/0", "puppy")
    assert (folder.parts / "000001" / RECORD).read_bytes() == before
