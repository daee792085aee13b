"""What bears a name of a run's own, and what does not: named, refused or left."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from unittest import mock

import pytest
from test_run_folder import IDENTITY, NO_ROWS, SECONDS, contents, folder, tables

from kn_lightning.errors import InputError
from kn_lightning.pack_claims import begin_claims
from kn_lightning.run_folder import RunFolder

__all__ = ["folder"]  # the fixture


def test_what_is_not_of_the_run_is_named_and_left(folder: RunFolder) -> None:
    (folder.path / "notes.txt").write_text("mine")
    (folder.path / "photos\x1b[31m").mkdir()
    shown = re.escape(r"notes.txt, photos\x1b[31m is not of a run; it is left")
    with pytest.warns(UserWarning, match=shown):
        RunFolder(folder.path).open({"a": 1}, {}, NO_ROWS, dict(IDENTITY))
    assert (folder.path / "notes.txt").read_text() == "mine"


def test_what_is_not_of_the_run_stays_out_of_its_folders_and_is_overwritten_by_none(
    folder: RunFolder,
) -> None:
    others = ("mine.parquet", "scores/mine.safetensors", "figures/photo.jpg")
    for name in others:
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_text("mine")
    shown = "figures/photo.jpg, mine.parquet, scores/mine.safetensors is not of a run"
    with pytest.warns(UserWarning, match=shown):
        RunFolder(folder.path).open({"a": 1}, {}, NO_ROWS, dict(IDENTITY))
    folder.release()
    with pytest.raises(InputError, match=f"{shown}; move it elsewhere before --overwrite"):
        RunFolder(folder.path).open({"a": 1}, {}, NO_ROWS, dict(IDENTITY), overwrite=True)
    assert {(folder.path / name).read_text() for name in others} == {"mine"}


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "parts",
        "scores",
        "figures",
        "stop",
        ".lock",
        "config.yaml",
        "prompts.parquet",
        "report.html",
    ],
)
def test_entry_of_the_wrong_kind_is_refused_and_left(
    folder: RunFolder, name: str, finished: bool
) -> None:
    folder.write_part(0, tables(0), SECONDS)
    if finished:
        folder.close(1)
    folder.release()
    entry = folder.path / name
    if entry.is_dir():
        shutil.rmtree(entry)
    entry.unlink(missing_ok=True)
    if name in {"parts", "scores", "figures"}:
        entry.write_text("no folder")
    else:
        entry.mkdir()
    before = contents(folder.path)
    with pytest.raises(InputError, match=f"{name} is (a|no) folder.*move it elsewhere"):
        RunFolder(folder.path).open({"a": 1}, {}, NO_ROWS, dict(IDENTITY))
    with pytest.raises(InputError, match=f"{name} is (a|no) folder"):
        RunFolder(folder.path).fetch()
    assert contents(folder.path) == before
    with pytest.raises(InputError, match=f"{name} is (a|no) folder"):
        RunFolder(folder.path).open({"a": 1}, {}, NO_ROWS, dict(IDENTITY), overwrite=True)
    assert entry.is_dir() == (before[name] is None)


def test_claims_that_another_command_removes_meanwhile_are_no_fault(folder: RunFolder) -> None:
    claims = folder.path / begin_claims(folder.path)
    stat = Path.stat

    def removed(path: Path, **keywords: bool) -> os.stat_result:
        if path == claims and os.path.lexists(claims):
            claims.rmdir()
        return stat(path, **keywords)

    with mock.patch.object(Path, "stat", removed):
        assert folder.fetch() == folder.path
    assert not claims.exists()
