"""A run folder at an address: a pack goes there as one file, a tar of its folder."""

from __future__ import annotations

import hashlib
import io
import math
import re
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from kn_lightning.census import faulty, not_of_the_study
from kn_lightning.digests import check_tables
from kn_lightning.errors import InputError
from kn_lightning.formation_tables import RECORD as FORMATION
from kn_lightning.part_names import part_name, part_number, scores_file
from kn_lightning.remote_place import RemotePlace, first_reached, place_of
from kn_lightning.run_folder import RunFolder
from kn_lightning.run_names import CONFIG, ENVIRONMENT, RUN_ID, SKIPPED

_TAR = ".tar"
_FILE = re.compile(r"\w+\.(parquet|json)", re.ASCII)
_TEMPORARY = re.compile(r"\.\d{6,}\.tar\.\d+\.tmp", re.ASCII)


def _number(name: str) -> int | None:
    """Of the pack whose part at an address has that very name."""
    return part_number(name.removesuffix(_TAR)) if name.endswith(_TAR) else None


def _unpack(content: bytes, name: str, folder: Path) -> None:
    """Write a part's folder below ``folder``; raises TarError where its tar holds anything else.

    Not by ``extractall``: its filter, which keeps entries inside, is not in every Python 3.11.
    """
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        for entry in tar:
            place, _, file = entry.name.partition("/")
            packed = tar.extractfile(entry) if _FILE.fullmatch(file) and entry.isreg() else None
            if place == name and packed is not None:
                (folder / name / file).write_bytes(packed.read())
            elif entry.name == name and entry.isdir():
                (folder / name).mkdir(exist_ok=True)
            else:
                raise tarfile.TarError(f"{entry.name!r:.60} is none of its files")


def run_folder(name: str | Path) -> RunFolder:
    """The run folder of that path or address.

    Raises:
        InputError: an address that can't be reached, or of a kind that no installed package knows.
    """
    place = place_of(name, "run_dir")
    if isinstance(place, Path):
        return RunFolder(place)
    with first_reached("run_dir"):
        return RemoteFolder(place)


class RemoteFolder(RunFolder):
    """Results of one study at an address."""

    has_claims = False  # not every store can make a file only if it isn't there

    def __init__(self, place: RemotePlace) -> None:
        super().__init__(place.path)
        self.name = place.name
        self.place = place
        place.fetch(*sorted({CONFIG, ENVIRONMENT, RUN_ID} & place.names()))

    def fetch(self) -> Path:
        """Bring a finished run, or a formation study, here; it is there as long as this object.

        Raises:
            InputError: it is not finished, or a table is not as it was written.
        """
        names = self._names()
        if FORMATION not in names and not self.is_complete:
            raise InputError(
                f"{self.name}: not a finished run; finish it with"
                f" `python analyze.py --run_dir {self.name}` and the settings it began with"
            )
        self.place.fetch(*sorted(n for n in names if n.endswith((".parquet", ".json", ".yaml"))))
        if ENVIRONMENT in names:
            check_tables(self.path, self.environment(), self.name)
        return self.path

    def publish(self, *names: str) -> None:
        """Put files of the copy, and those in its folders, to the address."""
        self.place.publish(*names)

    def open(
        self,
        config: dict[str, Any],
        environment: dict[str, Any],
        skipped: pa.Table,
        identity: dict[str, Any],
        overwrite: bool = False,
    ) -> None:
        """As of a local folder."""
        has_config = CONFIG in self._names()
        super().open(config, environment, skipped, identity, overwrite)
        if self.is_complete:
            if not has_config:
                self.publish(ENVIRONMENT, CONFIG)
            self.fetch()
            return
        for left in filter(_TEMPORARY.fullmatch, self.place.names("parts")):
            self._remove(f"parts/{left}")  # of ranks that were killed
        with first_reached("run_dir"):
            self.publish(ENVIRONMENT, CONFIG, SKIPPED)

    def check(self, plan: Any) -> None:
        """As of a local folder, of all parts that lie there."""
        if not self.is_complete:
            self.place.fetch(*sorted(self._files().keys() & self._names()))
            for number in self._part_numbers(len(plan)):
                if not (self.parts / part_name(number)).is_dir():
                    self._fetch_part(number)
        super().check(plan)

    def _check_part_names(self) -> None:
        self._part_numbers()

    def _part(self, number: int) -> str:
        return f"{self.name}/parts/{part_name(number)}{_TAR}"

    def finished_packs(self) -> frozenset[int]:
        """Numbers of the packs that lie there."""
        numbers = map(_number, self.place.names("parts"))
        return frozenset(number for number in numbers if number is not None)

    def _part_numbers(self, n_packs: float = math.inf) -> list[int]:
        """Of all parts there; raises InputError where something else is."""
        numbers = {name: _number(name) for name in self.place.names("parts")}
        found = {name: number for name, number in numbers.items() if number is not None}
        foreign = sorted(
            name
            for name in numbers
            if not _TEMPORARY.fullmatch(name) and found.get(name, math.inf) >= n_packs
        )
        if foreign:
            raise not_of_the_study(f"{self.name}/parts/{', '.join(foreign)}")
        return sorted(found.values())

    def _has_part(self, number: int) -> bool:
        if number not in self.finished_packs():
            return False
        try:
            self._fetch_part(number)
        except InputError:  # a torn one is written again
            return False
        return super()._has_part(number)

    def write_part(
        self,
        number: int,
        tables: dict[str, pa.Table],
        seconds: dict[str, float],
        scores: bytes | None = None,
    ) -> bool:
        """As into a local folder."""
        self.parts.mkdir(exist_ok=True)
        if not super().write_part(number, tables, seconds, scores):
            return False
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(self.parts / part_name(number), arcname=part_name(number))
        self.place.write(f"parts/{part_name(number)}{_TAR}", packed.getvalue())
        return True

    def _check_study(self, number: int) -> None:
        self.place.fetch(ENVIRONMENT)
        super()._check_study(number)

    def _write_scores(self, name: str, content: bytes) -> None:
        self.place.write(name, content)

    def _scores_sha256(self, number: int) -> str | None:
        name = scores_file(number)
        if Path(name).name not in self.place.names("scores"):
            return None
        return hashlib.sha256(self.place.read(name)).hexdigest()

    def close(self, n_packs: int) -> None:
        """As of a local folder; the parts there go last."""
        super().close(n_packs)
        # Without all tables the run counts as unfinished, and its parts are joined again.
        self.publish(ENVIRONMENT, *sorted(self._files()))
        self._remove("parts")

    def _claim(self) -> None:
        """Nobody is kept out there: stores know no locks that end with their process."""

    def _names(self, *inner: str) -> set[str]:
        own = {f"{folder}/{name}" for folder in inner for name in self.place.names(folder)}
        return own if inner else self.place.names()

    def _remove(self, name: str) -> None:
        self.place.remove(name)
        super()._remove(name)

    def _fetch_part(self, number: int) -> None:
        """Bring a part to the copy; raises InputError where it is none, or another's."""
        name = part_name(number)
        content = self.place.read(f"parts/{name}{_TAR}")
        with tempfile.TemporaryDirectory(dir=self.path.parent) as unpacked:
            try:
                _unpack(content, name, Path(unpacked))
            except (tarfile.TarError, OSError) as error:
                raise faulty(self._part(number), f"is torn ({error})") from error
            part = Path(unpacked) / name
            if not part.is_dir():
                raise faulty(self._part(number), f"is torn: it doesn't hold folder {name} alone")
            shutil.rmtree(self.parts / name, ignore_errors=True)
            part.rename(self.parts / name)
