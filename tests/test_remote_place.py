"""A folder at an address: found, or what is wrong with it said; no bucket is made by mistake."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import fsspec
import pytest
from callbacks.commands import command

from kn_lightning.errors import InputError
from kn_lightning.formation_record import FormationRecord
from kn_lightning.remote_place import RemotePlace, place_of
from kn_lightning.run_folder import RunFolder


def test_no_bucket_is_made(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    files = fsspec.filesystem("dir", path=str(tmp_path), target_protocol="file")
    place = RemotePlace("dir://buckte/run", files, "buckte/run")
    with pytest.raises(OSError, match="dir://buckte/run/environment.json: "):
        place.write("environment.json", b"{}")
    assert [path.name for path in tmp_path.iterdir()] == ["bucket"]
    place = RemotePlace("dir://bucket/runs/a/b", files, "bucket/runs/a/b")
    place.write("environment.json", b"{}")
    there = tmp_path / "bucket" / "runs" / "a" / "b"
    assert [path.name for path in there.iterdir()] == ["environment.json"]
    assert place.names() == {"environment.json"}
    assert place.read("environment.json") == b"{}"


def test_what_another_process_moves_meanwhile_needs_no_removing(tmp_path: Path) -> None:
    files = fsspec.filesystem("dir", path=str(tmp_path), target_protocol="file")
    place = RemotePlace("dir://bucket/run", files, "bucket/run")
    with mock.patch.object(files, "exists", return_value=True):  # it was asked just before
        place.remove("parts/.000000.tar.77.tmp")


@pytest.mark.parametrize(
    ("name", "said"),
    [(os.fsdecode(b"r\xe9"), "r\\udce9: this name is not UTF-8; give another")]
    + [("a\0b", "'a\\x00b': embedded null byte; give another name")],
)
def test_name_that_no_file_can_have_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, said: str
) -> None:
    for arguments in (("--run_dir", name), ("report", name)):
        done = command("analyze.py", *arguments, cwd=tmp_path)
        assert done.code == 2
        assert done.err == f"error: run_dir {said}\n"
    assert not list(tmp_path.iterdir())


def test_home_is_the_users_and_an_unknown_ones_is_a_folder_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert place_of("~/run", "run_dir") == tmp_path / "run"
    assert place_of("~nobody-here/run", "run_dir") == tmp_path / "~nobody-here" / "run"


def test_name_with_a_colon_is_a_folder_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--data.max_groups", 1, "--edit.control_seeds", 1, "--data.tag_pos", "false")
    done = command("analyze.py", *few, "--run_dir", "exp:1", cwd=tmp_path)
    assert done.code == 0, done.err
    assert RunFolder(tmp_path / "exp:1").is_complete
    for arguments in (("report", "exp:1"), ("neurons", "exp:1", "neurons.json")):
        done = command("analyze.py", *arguments, cwd=tmp_path)
        assert done.code == 0, done.err
    monkeypatch.chdir(tmp_path)
    assert FormationRecord("a:b").path == tmp_path / "a:b"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense://a/b", "nonsense"),
        ("memory:/a/b", "two slashes"),
        ("memory://", "names no folder"),
        ("file://", "names no folder"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_with_its_flag(address: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^formation.folder {address}: .*{said}"):
        place_of(address, "formation.folder")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:9/run", "Cannot connect to host 127.0.0.1:9 "),
        ("data://x/y", "not enough values to unpack"),
    ],
)
def test_address_that_does_not_answer_at_the_start_is_bad_input(address: str, said: str) -> None:
    for arguments in (("--run_dir", address), ("report", address)):
        done = command("analyze.py", *arguments)
        assert done.code == 2
        assert done.err.startswith(f"error: run_dir {address}: {said}")
        assert done.err.endswith(
            "; put that right, or give a folder, or another address that this machine can write"
            " to\n"
        )
    with pytest.raises(InputError, match=f"^formation.folder {address}: {said}.*another address"):
        FormationRecord(address).check({}, go_on=True)


def test_address_that_does_not_answer_when_it_is_read_is_bad_input() -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/bucket/formation/formation.json", b"{}")
    record = FormationRecord("memory://bucket/formation")
    lost = mock.patch.object(type(files), "cat_file", side_effect=ConnectionError("no access"))
    with lost, pytest.raises(InputError, match=r"formation.json: no access; put that right"):
        record.check({}, go_on=True)
    files.rm("/bucket/formation", recursive=True)


def test_names_that_no_folder_can_have_are_refused(tmp_path: Path) -> None:
    for name in ("a\0b", f"file://{tmp_path}/" + "x" * 300):
        with pytest.raises(InputError, match=r"run_dir '.*give another name"):
            place_of(name, "run_dir")
