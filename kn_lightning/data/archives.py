"""A public address, a folder, a zip archive or a file -> data files to be read in place."""

from __future__ import annotations

import errno
import hashlib
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import pooch
import requests
from filelock import FileLock

from kn_lightning.data.addresses import public_url
from kn_lightning.errors import InputError
from kn_lightning.files import check_whole

_SECONDS = 60  # without a byte, before a download counts as broken off
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    UnicodeDecodeError,  # an entry's name
    RuntimeError,  # encrypted, or compressed in a way that zipfile doesn't know
    OSError,  # see _of_the_content
)


def fetch_zip(url: str) -> Path:
    """A zip archive's place in the cache; downloaded with the first use, whole or not at all.

    What a broken-off download left is kept beside it, and the next call goes on there. Processes
    that ask at the same time wait for the one that downloads. A file in the cache that was cut
    since is downloaded again.

    Raises:
        InputError: the address is none or can't be reached, the download breaks off, or what came
            is no whole zip archive.
    """
    folder = pooch.os_cache("kn_lightning")
    remedy = "try again (a broken-off download goes on where it was)"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "download.lock"):
            place = _cached(url, folder)
            if not zipfile.is_zipfile(place):
                place.unlink()
                place = _cached(url, folder)
            return place
    except requests.HTTPError as error:
        what = str(error).partition(" for url")[0]
    except ValueError as error:  # of requests and of the standard library
        what = f"no http(s) address ({type(error).__name__})"
        remedy = "give one such as https://HOST/data.zip"
    except requests.RequestException as error:
        what = type(error).__name__
    except OSError as error:
        what = f"{folder}: {error.strerror or error}"
    except zipfile.BadZipFile as error:
        what = f"no whole zip archive ({error})"
    raise InputError(
        f"data.url {public_url(url)}: {what}; {remedy}, or download it by hand and give "
        "--data.path FILE"
    )


def _cached(url: str, folder: Path) -> Path:
    pooch.get_logger().setLevel("WARNING")  # It would print the whole address.
    return Path(pooch.retrieve(url, known_hash=None, path=folder, downloader=_download_on))


def _download_on(url: str, output_file: str, _: Any) -> None:
    """A downloader for pooch that goes on where a broken-off download ended."""
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    part = Path(output_file).with_name(f"{name}.part")
    there = part.stat().st_size if part.exists() else 0
    # identity: a compressed transfer has other lengths than the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    with requests.get(url, headers=headers, stream=True, timeout=_SECONDS) as response:
        if response.status_code != requests.codes.requested_range_not_satisfiable:
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            with part.open("ab" if resumed else "wb") as file:
                # Fewer bytes than Content-Length are an error here: urllib3 counts them.
                for chunk in response.iter_content(1 << 15):
                    file.write(chunk)
    try:
        with zipfile.ZipFile(part) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
    except _UNREADABLE as error:
        if isinstance(error, OSError) and not _of_the_content(error):
            raise
        part.unlink()  # All has come, and it is wrong: the next call starts afresh.
        raise zipfile.BadZipFile(_said(error)) from error
    part.replace(output_file)


@contextmanager
def data_files(path: Path, folder: str, pattern: str) -> Iterator[list[Traversable]]:
    """The files that ``pattern`` names in ``folder``, sorted; errors in reading them name ``path``.

    Args:
        path: a folder or a ``.zip``, searched in ``data/folder``, ``folder`` and the top; or one
            file, which is taken whatever its name. An archive is read in place: nothing of it is
            written, so its entries can't lead anywhere.
        folder: where the files lie.
        pattern: of their names, such as ``P*.jsonl``.

    Raises:
        InputError: there is no such file, or it can't be read.
    """
    check_whole("data.path", path)
    try:
        if path.is_dir():
            yield _named(path, path, folder, pattern)
        elif path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                yield _named(zipfile.Path(archive), path, folder, pattern)
        else:
            yield [path]
    except _UNREADABLE as error:
        archived = path.suffix.lower() == ".zip"
        if isinstance(error, OSError) and not (archived and _of_the_content(error)):
            raise InputError(f"data.path {path}: {error.strerror or error}") from error
        raise InputError(
            f"data.path {path}: no zip archive that can be read whole ({_said(error)}); unpack it"
            " and give the folder"
        ) from error


def _of_the_content(error: OSError) -> bool:
    """Whether the archive is at fault, not the disk: bz2's error, or a place before it."""
    return error.errno in (None, errno.EINVAL)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__  # an EOFError says nothing


def _named(root: Traversable, path: Path, folder: str, pattern: str) -> list[Traversable]:
    for place in (root / "data" / folder, root / folder, root):
        entries = place.iterdir() if place.is_dir() else ()
        files = [entry for entry in entries if fnmatch(entry.name, pattern) and entry.is_file()]
        if files:
            return sorted(files, key=lambda file: file.name)
    raise InputError(
        f"data.path {path}: no {folder}/{pattern} in it; give the folder or zip that has it"
    )


def fingerprint(files: Sequence[Path]) -> dict[str, Any]:
    """Names, size in bytes and SHA-256 of files, one behind the other, for ``environment.json``."""
    digest, size = hashlib.sha256(), 0
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                size += len(block)
    return {"files": [path.name for path in files], "bytes": size, "sha256": digest.hexdigest()}
