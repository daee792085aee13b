"""A folder at an address: found, or what is wrong with it said; no bucket is made by mistake."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from kn_lightning.errors import InputError
from kn_lightning.remote_place import RemotePlace, place_of


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


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense://a/b", "nonsense"),
        ("memory:/a/b", "two slashes"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_with_its_flag(address: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^formation.folder {address}: .*{said}"):
        place_of(address, "formation.folder")
