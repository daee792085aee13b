"""A file is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import SafetensorError

from kn_lightning import files
from kn_lightning.errors import InputError


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.md"
    files.write_whole(path, "old")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        files.write_whole(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "a/" * 5000])
def test_name_that_no_file_can_have_is_refused_with_its_flag(name: str) -> None:
    with pytest.raises(InputError, match="data.path '.*; give another name"):
        files.checked_path("data.path", name)


def test_any_other_name_is_a_path_whether_it_is_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in (tmp_path, tmp_path / "file", tmp_path / "none", tmp_path / "file" / "none"):
        assert files.checked_path("data.path", str(name)) == name


FULL = "No space left on device"


@pytest.mark.parametrize("error", [OSError(28, FULL), SafetensorError(FULL)])
def test_error_that_names_no_file_gets_one(error: Exception) -> None:
    with pytest.raises(OSError, match="neurons") as raised, files.named_errors(Path("neurons")):
        raise error
    assert FULL in str(raised.value)
    named = OSError(28, FULL, "other")
    with pytest.raises(OSError, match="other") as raised, files.named_errors(Path("neurons")):
        raise named
    assert raised.value is named
