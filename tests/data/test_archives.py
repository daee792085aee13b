"""Archives: downloaded whole or not at all, resumed, read in place."""

from __future__ import annotations

import hashlib
import random
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pooch
import pytest

from data.conftest import Server
from kn_lightning.data.archives import data_files, fetch_zip, fingerprint
from kn_lightning.errors import InputError

# More than one block of the download, and nothing that compression would shorten.
NOISE = random.Random(0).randbytes(200_000)


def zipped(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive; stored, its entries' bytes are in it as they are."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


ARCHIVE = zipped(("data/ConceptNet/test.jsonl", b'{"sub": "cat"}\n'), ("data/noise", NOISE))


DEFLATED = bytearray(zipped(("data/words", b"a cat " * 100), compression=zipfile.ZIP_DEFLATED))
DEFLATED[45:49] = b"\xff" * 4  # in the middle of what is compressed


def damaged(compression: int) -> bytes:
    """An archive with an entry that doesn't unpack."""
    content = bytearray(zipped(("TREx/P36.jsonl", NOISE), compression=compression))
    content[100:200] = b"\xff" * 100
    return bytes(content)


BZIP2, LZMA = damaged(zipfile.ZIP_BZIP2), damaged(zipfile.ZIP_LZMA)
NAMED = zipped(("TREx/P36-é.jsonl", b"1")).replace("é".encode(), b"\xff\xfe")
WHOLE = zipped(("TREx/P36.jsonl", NOISE))
SHORT = WHOLE.replace(len(NOISE).to_bytes(4, "little"), (10**6).to_bytes(4, "little"))
END = WHOLE.rindex(b"PK\5\6")
# Its list of entries is said to begin further back than it does: so they begin before the file.
EARLY = WHOLE[: END + 16] + b"\xff\xff\xff\x7f" + WHOLE[END + 20 :]


def downloads(cache: Path) -> list[str]:
    """Suffixes of what lies in the cache, but for the lock."""
    return sorted(file.suffix for file in cache.glob("*") if file.suffix != ".lock")


def test_an_archive_is_downloaded_once_and_then_taken_from_the_cache(
    server: Server, cache: Path
) -> None:
    server.files["/data.zip"] = ARCHIVE
    place = fetch_zip(server.url("/data.zip"))
    assert place.parent == cache
    assert place.read_bytes() == ARCHIVE
    server.files.clear()
    assert fetch_zip(server.url("/data.zip")) == place
    assert server.asked == [0]
    assert downloads(cache) == [".zip"]


def test_archives_of_two_addresses_are_kept_apart(server: Server, cache: Path) -> None:
    other = zipped(("other", b"1"))
    server.files |= {"/data.zip": ARCHIVE, "/mirror/data.zip": other}
    assert fetch_zip(server.url("/data.zip")).read_bytes() == ARCHIVE
    assert fetch_zip(server.url("/mirror/data.zip")).read_bytes() == other


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_off_download_is_not_taken_for_a_whole_one_and_goes_on(
    server: Server, cache: Path, ranges: bool
) -> None:
    url = server.url("/data.zip")
    server.files["/data.zip"] = ARCHIVE
    server.ranges = ranges
    server.sent = len(ARCHIVE) // 2
    with pytest.raises(InputError, match=rf"data\.url {url}: .*try again .*--data\.path FILE"):
        fetch_zip(url)
    assert downloads(cache) == [".part"]
    (part,) = cache.glob("*.part")
    there = part.stat().st_size
    assert 0 < there <= server.sent
    server.sent = None
    assert fetch_zip(url).read_bytes() == ARCHIVE
    assert server.asked == [0, there if ranges else 0]
    assert downloads(cache) == [".zip"]


def test_a_download_that_had_come_whole_before_a_crash_is_not_asked_for_again(
    server: Server, cache: Path
) -> None:
    url = server.url("/data.zip")
    server.files["/data.zip"] = ARCHIVE
    server.sent = len(ARCHIVE) // 2
    with pytest.raises(InputError):
        fetch_zip(url)
    (part,) = cache.glob("*.part")
    part.write_bytes(ARCHIVE)
    assert fetch_zip(url).read_bytes() == ARCHIVE
    assert server.asked == [0, len(ARCHIVE)]


def test_what_goes_on_with_another_archive_is_thrown_away(server: Server, cache: Path) -> None:
    url = server.url("/data.zip")
    server.files["/data.zip"] = ARCHIVE
    server.sent = len(ARCHIVE) // 2
    with pytest.raises(InputError):
        fetch_zip(url)
    server.sent = None
    # In between the archive is replaced by one of the same length.
    new = zipped(("data/ConceptNet/test.jsonl", b'{"sub": "dog"}\n'), ("data/noise", NOISE[::-1]))
    assert len(new) == len(ARCHIVE)
    server.files["/data.zip"] = new
    with pytest.raises(InputError, match="no whole zip archive"):
        fetch_zip(url)
    assert downloads(cache) == []
    assert fetch_zip(url).read_bytes() == new


@pytest.mark.parametrize(
    ("content", "announced"),
    [
        (b"<html>Sign in to the network of this hotel</html>", None),
        (b"", None),
        (ARCHIVE, len(ARCHIVE) - 100),  # a wrong size, too small
        (ARCHIVE[:-100], None),
        (ARCHIVE.replace(NOISE, NOISE[::-1]), None),  # a checksum that is not the content's
        *((content, None) for content in (bytes(DEFLATED), BZIP2, LZMA, NAMED, SHORT, EARLY)),
    ],
)
def test_what_is_no_whole_archive_is_refused_and_not_kept(
    server: Server, cache: Path, content: bytes, announced: int | None
) -> None:
    url = server.url("/data.zip")
    server.files["/data.zip"] = content
    server.announced = announced
    with pytest.raises(InputError, match=rf"data\.url {url}: no whole zip archive"):
        fetch_zip(url)
    assert downloads(cache) == []
    server.files["/data.zip"] = ARCHIVE
    server.announced = None
    assert fetch_zip(url).read_bytes() == ARCHIVE
    assert server.asked == [0, 0]


def test_a_size_that_is_announced_too_large_is_a_broken_off_download(
    server: Server, cache: Path
) -> None:
    server.files["/data.zip"] = ARCHIVE
    server.announced = len(ARCHIVE) + 1
    with pytest.raises(InputError, match=r"data\.url"):
        fetch_zip(server.url("/data.zip"))
    assert ".zip" not in downloads(cache)


def test_addresses_without_an_archive_are_refused_in_one_line(server: Server, cache: Path) -> None:
    with Server() as closed:
        refused = closed.url("/data.zip")
    for url, what in (
        (server.url("/none.zip"), "404 Client Error: Not Found"),
        (refused, "ConnectionError"),
        ("data.zip", "no http(s) address (MissingSchema); give one such as https://HOST/data.zip"),
        ("ftp://127.0.0.1/data.zip", "no http(s) address (InvalidSchema)"),
        ("https://", "no http(s) address (InvalidURL)"),
        ("http://[::1/data.zip", "no http(s) address (ValueError)"),
    ):
        with pytest.raises(InputError) as caught:
            fetch_zip(url)
        message = str(caught.value)
        assert message.startswith(f"data.url {url}: {what}")
        assert message.endswith(", or download it by hand and give --data.path FILE")
        assert ("try again" in message) == ("no http(s) address" not in message)
        assert "\n" not in message
        assert downloads(cache) == []


def test_neither_errors_nor_the_log_show_the_secrets_of_an_address(
    server: Server,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pooch.get_logger().setLevel("INFO")
    monkeypatch.setattr(pooch.get_logger(), "handlers", [caplog.handler])  # it has no parent
    plain = server.url("/data.zip")
    secret = plain.replace("http://", "http://me:PW@") + "?token=T"
    with pytest.raises(InputError) as caught:
        fetch_zip(secret)
    assert str(caught.value).startswith(f"data.url {plain}: 404 Client Error: Not Found; try")
    server.files["/data.zip?token=T"] = ARCHIVE
    assert fetch_zip(secret).read_bytes() == ARCHIVE
    assert "Downloading" not in caplog.text


def test_a_file_of_the_cache_that_was_cut_is_downloaded_again(server: Server, cache: Path) -> None:
    server.files["/data.zip"] = ARCHIVE
    url = server.url("/data.zip")
    place = fetch_zip(url)
    place.write_bytes(ARCHIVE[: len(ARCHIVE) // 2])
    assert fetch_zip(url) == place
    assert place.read_bytes() == ARCHIVE
    assert server.asked == [0, 0]
    assert downloads(cache) == [".zip"]


def test_a_cache_that_cannot_be_written_is_named(server: Server, cache: Path) -> None:
    cache.parent.parent.mkdir(parents=True, exist_ok=True)
    cache.parent.write_text("a file in the folder's place")
    with pytest.raises(InputError, match=r"data\.url .*: .*kn_lightning: Not a directory"):
        fetch_zip(server.url("/data.zip"))


def test_who_asks_while_a_download_runs_waits_for_it(server: Server, cache: Path) -> None:
    server.files["/data.zip"] = ARCHIVE
    with ThreadPoolExecutor(4) as threads:
        places = set(threads.map(fetch_zip, [server.url("/data.zip")] * 4))
    (place,) = places
    assert place.read_bytes() == ARCHIVE
    assert server.asked == [0]


def contents(path: Path, folder: str = "TREx", pattern: str = "P*.jsonl") -> dict[str, bytes]:
    """What is found, in its order."""
    with data_files(path, folder, pattern) as files:
        return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize("root", ["data/TREx", "TREx", "."])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_files_are_found_in_folders_and_archives(tmp_path: Path, root: str, kind: str) -> None:
    names = {"P36.jsonl": b"36", "P19.jsonl": b"19", "P19.jsonl.bak": b"", "relations.jsonl": b""}
    path = tmp_path / ("lama.zip" if kind == "zip" else "lama")
    if kind == "zip":
        path.write_bytes(zipped(*((str(Path(root, name)), text) for name, text in names.items())))
    else:
        (path / root).mkdir(parents=True)
        (path / root / "P1.jsonl").mkdir()
        for name, text in names.items():
            (path / root / name).write_bytes(text)
    found = contents(path)
    assert list(found.items()) == [("P19.jsonl", b"19"), ("P36.jsonl", b"36")]


def test_one_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_bytes(b"text")
    assert contents(tmp_path / "some.txt") == {"some.txt": b"text"}


EVIL = (
    ("../../evil/TREx/P1.jsonl", b"evil"),
    ("../TREx/P1.jsonl", b"evil"),
    ("/TREx/P1.jsonl", b"evil"),
    ("TREx/../../P1.jsonl", b"evil"),
    ("data/TREx/../P1.jsonl", b"evil"),
    ("deep/TREx/P1.jsonl", b"evil"),
)


def test_entries_that_try_to_leave_the_archive_are_neither_written_nor_read(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    path = inner / "lama.zip"
    path.write_bytes(zipped(*EVIL, ("data/TREx/P36.jsonl", b"good")))
    before = sorted(tmp_path.rglob("*"))
    assert contents(path) == {"P36.jsonl": b"good"}
    assert sorted(tmp_path.rglob("*")) == before
    path.write_bytes(zipped(*EVIL))
    with pytest.raises(InputError, match=r"data\.path .*lama\.zip: no TREx/P\*\.jsonl in it"):
        contents(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_cannot_be_read_is_refused_with_its_path(tmp_path: Path) -> None:
    whole = zipped(("TREx/P36.jsonl", NOISE))
    encrypted = bytearray(whole)
    encrypted[6] |= 1  # the flags in the entry's header and in the archive's list
    encrypted[whole.rindex(b"PK\1\2") + 8] |= 1
    short = "(EOFError|Overlapped entries: .*)"  # Python 3.11.8 looks for that, Debian's 3.11.2 too
    for name, content, what in (
        ("none", None, "No such file"),
        ("none.zip", None, "No such file"),
        ("cut.zip", whole[:-50], "no zip archive"),
        ("damaged.zip", whole.replace(NOISE, NOISE[::-1]), r"no zip archive .* \(Bad CRC"),
        ("encrypted.zip", bytes(encrypted), "encrypted.*; unpack it"),
        ("bzip2.zip", BZIP2, r"no zip archive .* \(Invalid data stream\); unpack it"),
        ("lzma.zip", LZMA, r"no zip archive .* \(Corrupt input data\); unpack it"),
        ("named.zip", NAMED, "no zip archive .*can't decode.*; unpack it"),
        ("short.zip", SHORT, rf"no zip archive .* \({short}\); unpack it"),
        ("early.zip", EARLY, r"no zip archive .*Invalid argument\); unpack it"),
        ("empty.zip", zipped(), r"no TREx/P\*\.jsonl"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"^data\.path {tmp_path / name}: .*{what}"):
            contents(tmp_path / name)
    with pytest.raises(InputError, match=rf"data\.path {tmp_path}: no TREx/P\*\.jsonl"):
        contents(tmp_path)


def test_fingerprint_is_of_the_contents_and_names_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "b").write_bytes(b"3")
    assert fingerprint([tmp_path / "a", tmp_path / "b"]) == {
        "files": ["a", "b"],
        "bytes": 3,
        "sha256": hashlib.sha256(b"123").hexdigest(),
    }
