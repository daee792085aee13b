"""A run folder at an address, such as ``s3://bucket/run``: any file system that fsspec knows.

Each process works in a local copy of its own, which ends with it; the address has what counts.
Whatever goes there is put under a temporary name and then moved, a pack as one file (a tar of its
folder): on any kind of store it is there whole or not at all.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from kn_lightning.errors import InputError
from kn_lightning.files import checked_path, write_whole
from kn_lightning.run_folder import CONFIG, ENVIRONMENT, RUN_ID, SKIPPED, RunFolder

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[:/]")
_SECRETS = re.compile(r"(?<=//)[^/@\s]*@|(?<=\S)[?#][^\s'\"]*")
"""User and password, and a query with its tokens."""
_TAR = ".tar"


def run_folder(name: str | Path) -> RunFolder:
    """The run folder of that path or address.

    Raises:
        InputError: an address that can't be reached, or of a kind that no installed package knows.
    """
    if not _ADDRESS.match(str(name)):
        return RunFolder(checked_path("run_dir", name))
    shown = _SECRETS.sub("", str(name))
    try:
        if "//" not in str(name):
            raise ValueError("an address has two slashes")
        files, root = url_to_fs(str(name), use_listings_cache=False)
        if isinstance(files, LocalFileSystem):
            return RunFolder(checked_path("run_dir", root))
        if not root.strip("/"):
            raise ValueError("it names no folder there")
        return RemoteFolder(shown, files, root.rstrip("/"))
    except Exception as error:  # each file system has errors of its own
        raise InputError(
            f"run_dir {shown}: {_said(error)}; give a folder, or an address that this machine can"
            " write to, with the package that fsspec wants for its kind (s3fs for s3://, gcsfs for gs://)"
        ) from error


@contextmanager
def _reaching(place: str) -> Iterator[None]:
    """What goes wrong there in the block is the disk's fault: put right, the same command goes on.

    Raises:
        OSError: whatever it was.
    """
    try:
        yield
    except Exception as error:  # each file system has errors of its own
        raise OSError(f"{place}: {_said(error)}") from error


def _said(error: Exception) -> str:
    return _SECRETS.sub("", " ".join(str(error).split())) or type(error).__name__


class RemoteFolder(RunFolder):
    """Results of one study at an address.

    Args:
        name: the address as it may be shown, without secrets.
        files: its file system.
        root: the folder there.
    """

    def __init__(self, name: str, files: Any, root: str) -> None:
        copy = tempfile.mkdtemp(prefix="kn_lightning-")
        weakref.finalize(self, shutil.rmtree, copy, ignore_errors=True)
        super().__init__(Path(copy) / (root.rpartition("/")[2] or "run"))
        self.name = name
        self._files = files
        self._root = root
        self.path.mkdir()
        for file in sorted({CONFIG, ENVIRONMENT, RUN_ID} & self._names()):
            self._get(file)

    def fetch(self) -> Path:
        """Bring a finished run here; the folder is there as long as this object.

        Raises:
            InputError: it is not finished.
        """
        if not self.is_complete:
            raise InputError(
                f"{self.name}: not a finished run; finish it with"
                f" `python analyze.py --run_dir {self.name}` and the settings it began with"
            )
        for file in sorted(self._names()):
            if file.endswith((".parquet", ".json", ".yaml")):
                self._get(file)
        return self.path

    def publish(self, *names: str) -> None:
        """Put files of the copy, and those in its folders, to the address."""
        for name in names:
            place = self.path / name
            inner = sorted(place.iterdir()) if place.is_dir() else [place]
            for file in inner:
                self._put(file.relative_to(self.path).as_posix(), file.read_bytes())

    def open(
        self,
        config: dict[str, Any],
        environment: dict[str, Any],
        skipped: pa.Table,
        identity: dict[str, Any],
        overwrite: bool = False,
    ) -> None:
        """As of a local folder."""
        super().open(config, environment, skipped, identity, overwrite)
        if self.is_complete:
            self.fetch()
            self._remove("parts")
            return
        for left in self._names("parts"):  # of ranks that were killed
            if left.endswith(".tmp"):
                self._remove(f"parts/{left}")
        self.publish(ENVIRONMENT, CONFIG, SKIPPED)

    def check(self, plan: Any) -> None:
        """As of a local folder, of all parts that lie there."""
        if not self.is_complete:
            for name in sorted(self._names("parts")):
                number, suffix = os.path.splitext(name)
                if suffix != _TAR or not number.isdigit():
                    raise InputError(
                        f"{self.name}/parts/{name} is none of this study's; move it elsewhere,"
                        " then run the same command"
                    )
                if not (self.parts / number).is_dir():
                    self._get_part(number)
        super().check(plan)

    def finished_packs(self) -> frozenset[int]:
        """Numbers of the packs that lie there."""
        parts = {name.removesuffix(_TAR) for name in self._names("parts") if name.endswith(_TAR)}
        return frozenset(int(name) for name in parts if name.isdigit())

    def write_part(
        self, number: int, tables: dict[str, pa.Table], seconds: dict[str, float]
    ) -> None:
        """As into a local folder."""
        self.parts.mkdir(exist_ok=True)
        super().write_part(number, tables, seconds)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(self.parts / f"{number:06d}", arcname=f"{number:06d}")
        self._put(f"parts/{number:06d}{_TAR}", packed.getvalue())

    def write_scores(self, number: int, content: bytes) -> None:
        """As into a local folder, but there alone."""
        self._put(f"scores/{number:06d}.safetensors", content)

    def close(self, n_packs: int) -> None:
        """As of a local folder; the parts there go last."""
        super().close(n_packs)
        # Without all tables the run counts as unfinished, and its parts are joined again.
        self.publish(ENVIRONMENT, *(f"{name}.parquet" for name in self._tables()))
        self._remove("parts")

    def _names(self, folder: str = "") -> set[str]:
        place = f"{self._root}/{folder}".rstrip("/")
        with _reaching(self.name):
            self._files.invalidate_cache()
            if not self._files.isdir(place):
                return set()
            found = self._files.ls(place, detail=False)
        paths = {str(file).strip("/") for file in found}
        # Some stores list a folder among what it holds.
        return {path.rpartition("/")[2] for path in paths - {place.strip("/")}}

    def _remove(self, name: str) -> None:
        place = f"{self._root}/{name}"
        with _reaching(self.name):
            if self._files.exists(place):
                self._files.rm(place, recursive=True)
        super()._remove(name)

    def _get(self, name: str) -> None:
        with _reaching(self.name):
            content = self._files.cat_file(f"{self._root}/{name}")
        write_whole(self.path / name, content)

    def _get_part(self, name: str) -> None:
        with _reaching(f"{self.name}/parts"):
            content = self._files.cat_file(f"{self._root}/parts/{name}{_TAR}")
        try:
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
                tar.extractall(self.parts, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise InputError(
                f"{self.name}/parts/{name}{_TAR} is torn ({error}); delete it to have that pack"
                " computed again, then run the same command"
            ) from error

    def _put(self, name: str, content: bytes) -> None:
        folder, _, file = f"{self._root}/{name}".rpartition("/")
        temporary = f"{folder}/.{file}.{os.getpid()}.tmp"
        with _reaching(f"{self.name}/{name}"):
            self._make(folder)
            self._files.pipe_file(temporary, content)
            self._files.mv(temporary, f"{folder}/{file}")

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
