"""A folder at an address, such as ``s3://bucket/run``: any file system that fsspec knows.

Each process works in a local copy of its own, which ends with it; the address has what counts.
Whatever goes there is put under a temporary name and then moved: on any kind of store it is there
whole or not at all.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from kn_lightning.data.addresses import public_text, public_url
from kn_lightning.errors import InputError
from kn_lightning.files import checked_path, write_whole

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[:/]")


def is_address(name: str | Path) -> bool:
    """Whether that is an address, such as s3://BUCKET/RUN, and no path."""
    return _ADDRESS.match(str(name)) is not None


def place_of(name: str | Path, flag: str) -> Path | RemotePlace:
    """The folder of that path or address.

    Args:
        name: what a user has given.
        flag: by which, for messages.

    Raises:
        InputError: an address that can't be reached, or of a kind that no installed package knows;
            or a name that no file of results can have.
    """
    try:
        str(name).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{flag} {name}: this name is not UTF-8; give another") from error
    if not is_address(name):
        # A shell leaves the ~ of --run_dir=~/run to us, and Arrow takes it for the home, too.
        path = checked_path(flag, os.path.expanduser(name))
        # A relative name that begins like "exp:1" is an address to Arrow.
        first = str(path).partition("/")[0]
        return path.absolute() if ":" in first or first.startswith("~") else path
    shown = public_url(str(name))
    try:
        if "//" not in str(name):
            raise ValueError("an address has two slashes")
        if not str(name).partition("//")[2].strip("/"):  # of file:// fsspec makes where we are
            raise ValueError("it names no folder there")
        files, root = url_to_fs(str(name), use_listings_cache=False)
        if isinstance(files, LocalFileSystem):
            return checked_path(flag, root)
        if not root.strip("/"):
            raise ValueError("it names no folder there")
        return RemotePlace(shown, files, root.rstrip("/"))
    except InputError:
        raise
    except Exception as error:  # each file system has errors of its own
        # A library that can't read an address may show a part of its password.
        hidden = shown != str(name) and isinstance(error, ValueError)
        said = "no address that can be read" if hidden else _said(error).replace(str(name), shown)
        raise InputError(
            f"{flag} {shown}: {said}; give a folder, or an address that this machine can"
            " write to, with the package that fsspec wants for its kind (s3fs for s3://, gcsfs for gs://)"
        ) from error


class Unreachable(OSError):
    """What goes wrong at an address is the disk's fault: put right, the same command goes on."""


@contextmanager
def _reaching(place: str) -> Iterator[None]:
    """Raises Unreachable, whatever goes wrong in the block."""
    try:
        yield
    except Exception as error:  # each file system has errors of its own
        raise Unreachable(f"{place}: {_said(error)}") from error


@contextmanager
def first_reached(flag: str) -> Iterator[None]:
    """At the start, when the address itself may be wrong, that is bad input of the flag.

    Raises:
        InputError: something went wrong at an address in the block.
    """
    try:
        yield
    except Unreachable as error:
        raise InputError(
            f"{flag} {error}; put that right, or give a folder, or another address that this"
            " machine can write to"
        ) from error


def _said(error: Exception) -> str:
    return public_text(" ".join(str(error).split())) or type(error).__name__


class RemotePlace:
    """A folder at an address, and its copy here. All methods raise Unreachable where it fails.

    Args:
        name: the address as it may be shown, without secrets.
        files: its file system.
        root: the folder there.

    Attributes:
        path: the copy, empty at first; there as long as this object.
    """

    def __init__(self, name: str, files: Any, root: str) -> None:
        self.name = name
        self._files = files
        self._root = root
        copy = tempfile.mkdtemp(prefix="kn_lightning-")
        weakref.finalize(self, shutil.rmtree, copy, ignore_errors=True)
        self.path = Path(copy) / (root.rpartition("/")[2] or "run")
        self.path.mkdir()

    def names(self, folder: str = "") -> set[str]:
        """Of what lies there, or in a folder of it; of a folder that isn't there none."""
        place = f"{self._root}/{folder}".rstrip("/")
        with _reaching(self.name):
            self._files.invalidate_cache()
            if not self._files.isdir(place):
                return set()
            found = self._files.ls(place, detail=False)
        paths = {str(file).strip("/") for file in found}
        # Some stores list a folder among what it holds.
        return {path.rpartition("/")[2] for path in paths - {place.strip("/")}}

    def read(self, name: str) -> bytes:
        """The content of a file there."""
        with _reaching(f"{self.name}/{name}"):
            content: bytes = self._files.cat_file(f"{self._root}/{name}")
        return content

    def fetch(self, *names: str) -> None:
        """Bring files to the copy."""
        for name in names:
            write_whole(self.path / name, self.read(name))

    def publish(self, *names: str) -> None:
        """Put files of the copy, and those in its folders, there."""
        for name in names:
            place = self.path / name
            inner = sorted(place.iterdir()) if place.is_dir() else [place]
            for file in inner:
                self.write(file.relative_to(self.path).as_posix(), file.read_bytes())

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, whole."""
        folder, _, file = f"{self._root}/{name}".rpartition("/")
        temporary = f"{folder}/.{file}.{os.getpid()}.tmp"
        with _reaching(f"{self.name}/{name}"):
            self._make(folder)
            self._files.pipe_file(temporary, content)
            self._files.mv(temporary, f"{folder}/{file}")

    def remove(self, name: str) -> None:
        """Remove a file or folder there, if it is there."""
        place = f"{self._root}/{name}"
        # Of what a rank that outlives its command moves meanwhile nothing is there.
        with _reaching(self.name), suppress(FileNotFoundError):
            if self._files.exists(place):
                self._files.rm(place, recursive=True)

    def _make(self, folder: str) -> None:
        """Make a folder, and those that it lies in but the first: a typing error makes no bucket.

        Raises:
            FileNotFoundError: there is no such first one.
        """
        levels = folder.split("/")
        first = next(n for n, level in enumerate(levels, start=1) if level)
        for depth in range(min(first + 1, len(levels)), len(levels) + 1):
            with suppress(FileExistsError):
                self._files.mkdir("/".join(levels[:depth]), create_parents=False)
