"""A run folder at an address: as a local one, whole or not at all, and gone on with."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import fsspec
import pytest
from callbacks.commands import command, no_report, real_command, table
from test_run_folder import IDENTITY, NO_ROWS, SECONDS, tables

from kn_lightning.callbacks.write import WriteCallback
from kn_lightning.errors import InputError
from kn_lightning.remote_folder import run_folder
from kn_lightning.remote_place import RemotePlace
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import TABLES

ADDRESS = "memory://bucket/run"
STUDY = (
    "--data.max_groups", 5, "--data.pack_tokens", 150, "--data.tag_pos", "false",
    "--model.rule", "gauss_legendre", "--model.nodes", 3,
    "--trainer.enable_progress_bar", "false",
)  # fmt: skip
"""Five packs of one concept each."""


@pytest.fixture(autouse=True)
def store() -> Any:
    """The file system of ``memory://``, empty."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = ["", "/bucket"]
    return files


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """The study in a local folder."""
    with unreported():
        assert command("analyze.py", *STUDY, "--run_dir", tmp_path / "local").code == 0
    return tmp_path / "local"


@contextmanager
def unreported() -> Iterator[None]:
    """Within the block studies end without their report."""
    with no_report(), mock.patch("kn_lightning.report.WRITTEN", ()):
        yield


def opened() -> RunFolder:
    folder = run_folder(ADDRESS)
    folder.open({"a": 1}, {"versions": {}}, NO_ROWS, IDENTITY)
    return folder


def assert_same_tables(local: Path, address: str = ADDRESS) -> None:
    path = (folder := run_folder(address)).fetch()
    for name in (*TABLES, "skipped"):
        assert table(path, name) == table(local, name), name
    assert not folder.finished_packs()


def test_a_path_is_a_local_folder_and_so_is_a_file_address(tmp_path: Path) -> None:
    assert type(run_folder("runs/a")) is RunFolder
    assert type(run_folder(tmp_path)) is RunFolder
    folder = run_folder(tmp_path.as_uri())
    assert type(folder) is RunFolder
    assert folder.path == tmp_path


def test_a_study_at_an_address_is_that_of_a_local_folder(local: Path, store: Any) -> None:
    done = command("analyze.py", *STUDY, "--run_dir", ADDRESS, "--write.scores", "true")
    assert done.code == 0, done.err
    assert f"report:  {ADDRESS}/report.html" in done.out
    assert_same_tables(local)
    assert len(store.ls("/bucket/run/scores")) == 5
    page = store.cat_file("/bucket/run/report.html")
    assert not [path for path in store.find("/") if path.endswith(".tmp")]

    store.rm("/bucket/run/report.html")
    done = command("analyze.py", "report", ADDRESS)
    assert done.code == 0, done.err
    assert store.cat_file("/bucket/run/report.html") == page


def test_neurons_of_a_run_at_an_address(local: Path, tmp_path: Path) -> None:
    with unreported():
        assert command("analyze.py", *STUDY, "--run_dir", ADDRESS).code == 0
    for run in (ADDRESS, local):
        assert command("analyze.py", "neurons", run, tmp_path / f"{len(str(run))}.json").code == 0
    first, second = (path.read_text() for path in sorted(tmp_path.glob("*.json")))
    assert json.loads(first) == json.loads(second) != {}


def test_a_run_at_an_address_goes_on_and_another_study_is_refused(
    local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = (*STUDY, "--run_dir", ADDRESS)
    calls: list[int] = []
    original = WriteCallback.on_predict_batch_end

    def interrupted(self: WriteCallback, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise InputError("planted")
        original(self, *arguments)

    with unreported(), mock.patch.object(WriteCallback, "on_predict_batch_end", interrupted):
        assert command("analyze.py", *flags).code == 2
    assert run_folder(ADDRESS).finished_packs() == {0, 1}
    assert command("analyze.py", "report", ADDRESS).code == 2
    other = (*flags, "--refine.threshold", 0.3)
    with unreported():
        refused = command("analyze.py", *other)
        assert refused.code == 2
        assert f"run_dir {ADDRESS} holds another study" in refused.err
        assert "refine.threshold" in refused.err
        assert command("analyze.py", *flags).code == 0
    assert_same_tables(local)
    with unreported():
        assert command("analyze.py", *flags).code == 0  # all is there
        assert command("analyze.py", *other, "--overwrite", "true").code == 0
    assert run_folder(ADDRESS).environment()["identity"]["refine.threshold"] == 0.3


def on_two_ranks(store: Path, *flags: object) -> None:
    """A study at an address: dir:// is a folder as another file system, which processes share."""
    store.mkdir()
    done = real_command(
        "analyze.py", *flags, "--run_dir", "dir://run", "--trainer.devices", 2,
        "--trainer.accelerator", "cpu", "--trainer.strategy", "ddp", timeout=120,
        FSSPEC_DIR_PATH=str(store), FSSPEC_DIR_TARGET_PROTOCOL="file",
    )  # fmt: skip
    assert done.code == 0, done.err


def test_rank_without_a_pack_keeps_no_other_waiting(tmp_path: Path) -> None:
    on_two_ranks(tmp_path / "store", "--data.max_groups", 1)
    assert len({row["concept"] for row in table(tmp_path / "store" / "run", "prompts")}) == 1


def test_two_ranks_write_to_one_address(local: Path, tmp_path: Path) -> None:
    on_two_ranks(tmp_path / "store", *STUDY)
    for name in (*TABLES, "skipped"):
        assert table(tmp_path / "store" / "run", name) == table(local, name), name
    assert (tmp_path / "store" / "run" / "report.html").exists()
    assert not (tmp_path / "store" / "run" / "parts").exists()


def test_what_cannot_be_written_whole_is_not_there(store: Any) -> None:
    folder = opened()
    folder.write_part(0, tables(0), SECONDS)
    with (
        mock.patch.object(type(store), "mv", side_effect=ValueError("connection lost")),
        pytest.raises(OSError, match="connection lost"),
    ):
        folder.write_part(1, tables(1), SECONDS)
    assert folder.finished_packs() == {0}
    again = opened()  # what was left of it stands in nobody's way
    assert not [path for path in store.find("/") if path.endswith(".tmp")]
    again.write_part(1, tables(1), SECONDS)
    again.check([["0", "0"], ["1", "1"]])
    again.close(2)
    assert run_folder(ADDRESS).is_complete


def test_scores_there_are_checked_as_well(store: Any) -> None:
    folder = opened()
    folder.write_part(0, tables(0), SECONDS, b"scores")
    folder.check([["0", "0"]])
    store.pipe_file("/bucket/run/scores/000000.safetensors", b"torn")
    with pytest.raises(InputError, match="scores.* not as they were written"):
        folder.check([["0", "0"]])
    store.rm("/bucket/run/scores/000000.safetensors")
    with pytest.raises(InputError, match="scores.* missing"):
        folder.check([["0", "0"]])


def test_scores_there_stay_those_of_the_part_that_is_there(store: Any) -> None:
    folder, outliving = opened(), opened()
    folder.write_part(0, tables(0), SECONDS, b"scores")
    outliving.write_part(0, tables(0), SECONDS, b"rounded otherwise")
    opened().check([["0", "0"]])
    assert store.cat_file("/bucket/run/scores/000000.safetensors") == b"scores"
    folder.close(1)
    outliving.write_part(0, tables(0), SECONDS, b"rounded otherwise")
    opened().check([["0", "0"]])


def test_scores_of_a_finished_run_there_are_checked_as_well(store: Any) -> None:
    folder = opened()
    folder.write_part(0, tables(0), SECONDS, b"scores")
    folder.close(1)
    again = opened()
    again.check([["0", "0"]])
    store.pipe_file("/bucket/run/scores/000000.safetensors", b"torn")
    with pytest.raises(InputError, match=r"scores/000000.safetensors is not as the run wrote it"):
        again.check([["0", "0"]])


def test_closing_that_is_cut_off_is_done_again(store: Any) -> None:
    folder = opened()
    folder.write_part(0, tables(0), SECONDS)
    original, put = RemotePlace.write, []

    def cut_off(self: RemotePlace, name: str, content: bytes) -> None:
        put.append(name)
        if len(put) == 3:
            raise OSError("connection lost")
        original(self, name, content)

    with mock.patch.object(RemotePlace, "write", cut_off), pytest.raises(OSError, match="lost"):
        folder.close(1)
    again = opened()
    assert not again.is_complete
    again.check([["0", "0"]])
    again.close(1)
    assert again.is_complete
    assert not store.exists("/bucket/run/parts")


@pytest.mark.parametrize("content", [b"half", b""])
def test_a_torn_part_is_reported(store: Any, content: bytes) -> None:
    folder = opened()
    store.pipe_file("/bucket/run/parts/000000.tar", content)
    with pytest.raises(InputError, match=r"parts/000000.tar is torn .*delete it"):
        folder.check([["0"]])


PART = "/bucket/run/parts/000000.tar"


def _cut(store: Any, length: int) -> None:
    store.pipe_file(PART, store.cat_file(PART)[:length])


def _cut_behind_tables(store: Any) -> None:
    with tarfile.open(fileobj=io.BytesIO(store.cat_file(PART))) as tar:
        _cut(store, tar.getmember("000000/pack.json").offset)


def _cut_behind_the_folder(store: Any) -> None:
    _cut(store, tarfile.BLOCKSIZE)


def _make_zero(store: Any) -> None:
    store.pipe_file(PART, b"\0" * 10240)


def _take_anothers(store: Any) -> None:
    store.copy("/bucket/run/parts/000001.tar", PART)


def _add_anothers(store: Any) -> None:
    # The blocks of zeros at the end of the first would end both.
    content = store.cat_file(PART).rstrip(b"\0")
    whole = content.ljust(-(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE, b"\0")
    store.pipe_file(PART, whole + store.cat_file("/bucket/run/parts/000001.tar"))


def _change_a_table(store: Any) -> None:
    with tarfile.open(fileobj=io.BytesIO(store.cat_file(PART))) as tar:
        place = tar.getmember("000000/edits.parquet").offset_data + 8
    content = bytearray(store.cat_file(PART))
    content[place] ^= 1
    store.pipe_file(PART, bytes(content))


@pytest.mark.parametrize(
    "spoil",
    [
        *(_cut_behind_tables, _cut_behind_the_folder, _make_zero),
        *(_take_anothers, _add_anothers, _change_a_table),
    ],
)
def test_a_part_that_is_none_is_named_by_its_address(
    store: Any, spoil: Callable[[Any], None]
) -> None:
    folder = opened()
    for number in range(2):
        folder.write_part(number, tables(number), SECONDS)
    spoil(store)
    again = opened()
    with pytest.raises(InputError) as caught:
        again.check([["0", "0"], ["1", "1"]])
    said = str(caught.value)
    assert said.startswith(f"{ADDRESS}/parts/000000.tar is torn")
    assert "; delete it to have that pack computed again" in said
    assert str(again.path) not in said
    store.rm(PART)
    last = opened()
    last.check([["0", "0"], ["1", "1"]])
    assert last.finished_packs() == {1}
    last.write_part(0, tables(0), SECONDS)
    last.close(2)


def test_a_part_of_no_pack_is_named_by_its_address(store: Any) -> None:
    folder = opened()
    folder.write_part(1, tables(1), SECONDS)
    with pytest.raises(InputError, match=rf"^{ADDRESS}/parts/000001.tar is none of this study's"):
        opened().check([["0", "0"]])


def test_a_rank_writes_a_torn_part_again_and_no_whole_one(store: Any) -> None:
    folder = opened()
    folder.write_part(0, tables(0), SECONDS)
    whole = store.cat_file(PART)
    rank = run_folder(ADDRESS)
    rank.study = folder.study
    rank.write_part(0, tables(0), {"total": 9.0})
    assert store.cat_file(PART) == whole
    _make_zero(store)
    rank.write_part(0, tables(0), SECONDS)
    opened().check([["0", "0"]])


@pytest.mark.parametrize("within", ["", "000000/", "/", "000000/../"])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_part_cannot_write_outside_its_folder(
    store: Any, tmp_path: Path, kind: bytes, within: str
) -> None:
    folder = opened()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        whole = tarfile.TarInfo("000000")
        whole.type = tarfile.DIRTYPE
        tar.addfile(whole)
        entry = tarfile.TarInfo(f"{within}../../../{tmp_path.name}-outside.json")
        entry.type, entry.linkname, entry.size = kind, str(tmp_path), 4
        tar.addfile(entry, io.BytesIO(b"evil"))
    store.pipe_file("/bucket/run/parts/000000.tar", packed.getvalue())
    with pytest.raises(InputError, match=r"torn \(.*is none of its files"):
        folder.check([["0"]])
    outside = os.path.normpath(folder.parts / f"../../../{tmp_path.name}-outside.json")
    assert not Path(outside).exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_part_holds_plain_files_alone(store: Any, tmp_path: Path, kind: bytes) -> None:
    folder = opened()
    folder.write_part(0, tables(0), SECONDS)
    with tarfile.open(fileobj=io.BytesIO(store.cat_file(PART))) as tar:
        members = [(one, tar.extractfile(one) if one.isreg() else None) for one in tar]
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as other:
            for entry, content in members:
                if entry.name == "000000/edits.parquet":
                    entry.type, entry.linkname, content = kind, str(tmp_path), None
                    entry.size = 0
                other.addfile(entry, content)
    store.pipe_file(PART, packed.getvalue())
    with pytest.raises(InputError, match=r"torn .*edits.parquet' is none of its files"):
        opened().check([["0", "0"]])


def test_address_that_takes_no_file_is_bad_input_at_the_start(store: Any) -> None:
    with (
        mock.patch.object(type(store), "pipe_file", side_effect=ValueError("read only")),
        pytest.raises(InputError, match=f"run_dir {ADDRESS}/environment.json: read only; put that"),
    ):
        opened()


def test_tables_of_another_run_are_no_results_of_an_unfinished_one(store: Any) -> None:
    folder = opened()
    folder.write_part(0, tables(0), SECONDS)
    for name in TABLES:
        store.pipe_file(f"/bucket/run/{name}.parquet", b"mine")
    again = opened()
    with pytest.raises(InputError, match=r"coarse.parquet is none of this run's; move it"):
        again.check([["0", "0"]])
    assert again.finished_packs() == {0}


def test_foreign_files_are_reported_and_left(store: Any) -> None:
    store.pipe_file("/bucket/run/notes.txt", b"mine")
    with pytest.raises(InputError, match=f"run_dir {ADDRESS} is not empty and holds no run"):
        opened()
    store.rm("/bucket/run/notes.txt")
    folder = opened()
    store.pipe_file("/bucket/run/parts/notes.txt", b"mine")
    for name in ("0.tar", "²", "²²²²²².tar", ".000000.tar.tmp"):
        store.pipe_file(f"/bucket/run/parts/{name}", b"mine")
        assert opened().finished_packs() == frozenset()
        with pytest.raises(InputError, match=rf"parts/.*{name}.* is none of this study's"):
            folder.check([["0"]])
        store.rm(f"/bucket/run/parts/{name}")
    with pytest.raises(InputError, match=r"parts/notes.txt is none of this study's"):
        folder.check([["0"]])
    store.rm("/bucket/run/parts/notes.txt")
    store.pipe_file("/bucket/run/edits.parquet", b"mine")
    with pytest.raises(InputError, match=f"{ADDRESS}/edits.parquet is none of this run's"):
        folder.check([["0"]])
    for name in ("notes.txt", "scores/notes.txt"):
        store.pipe_file(f"/bucket/run/{name}", b"mine")
    store.pipe_file("/bucket/run/scores/.000001.safetensors.99.tmp", b"half")
    with pytest.warns(UserWarning, match=r"notes.txt, scores/notes.txt is not of a run"):
        opened()
    assert store.ls("/bucket/run/scores", detail=False) == ["/bucket/run/scores/notes.txt"]
    with pytest.raises(InputError, match=r"notes.txt, scores/notes.txt is not of a run"):
        run_folder(ADDRESS).open({}, {}, NO_ROWS, IDENTITY, overwrite=True)
    assert store.cat_file("/bucket/run/notes.txt") == b"mine"


def test_secrets_in_an_address_are_not_shown(store: Any) -> None:
    address = "memory://name:s3cret@bucket/run?token=s3cret"
    folder = run_folder(address)
    assert folder.name == "memory://bucket/run"
    lost = ConnectionError(f"no answer from {address} in time")
    said = "memory://bucket/run/environment.json: no answer from memory://bucket/run in time"
    with (
        mock.patch.object(type(store), "mv", side_effect=lost),
        pytest.raises(InputError, match=f"^run_dir {said}; put that right"),
    ):
        folder.open({}, {}, NO_ROWS, IDENTITY)
