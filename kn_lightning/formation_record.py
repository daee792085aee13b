"""A folder of one formation study: begun or gone on with, filled step by step.

Its tables are written anew, whole, behind every step: a training that is stopped leaves all steps
before, and a step is there wholly or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kn_lightning.claim import HOLDER, LOCK, RunLock
from kn_lightning.errors import InputError
from kn_lightning.files import write_whole
from kn_lightning.formation_tables import (
    CONCEPTS,
    NEURONS,
    RECORD,
    SKIPPED,
    STUDY,
    TABLES,
    compared,
    read_record,
    read_tables,
)
from kn_lightning.identity import differing, identity_sha256
from kn_lightning.remote_place import first_reached, place_of
from kn_lightning.run_names import RUN_ID
from kn_lightning.schema import SCHEMA_VERSION, SKIPPED_TABLE, Skipped

if TYPE_CHECKING:
    import pandas as pd


class FormationRecord:
    """A folder of one formation study.

    Args:
        folder: its path or address; made when the first step is written.
        flag: that named the folder, for messages.

    Attributes:
        path: the folder, or the copy here of what lies at an address.
        name: what a user calls it.

    Raises:
        InputError: an address that can't be reached.
    """

    def __init__(self, folder: str | Path, flag: str = "formation.folder") -> None:
        place = place_of(folder, flag)
        self._remote = None if isinstance(place, Path) else place
        self.path = place if isinstance(place, Path) else place.path
        self.name = str(self.path) if self._remote is None else self._remote.name
        self.flag = flag
        self._lock = RunLock(self.path, flag, "another folder")
        self._made = False

    def claim(self, identity: dict[str, Any], go_on: bool) -> None:
        """Keep other commands out until :meth:`release`; at an address nothing can.

        Args:
            identity: as of :meth:`check`, which is done once more: until now another could begin.
            go_on: likewise.

        Raises:
            InputError: another process has the folder, or it can't be made or take this study.
        """
        if self._remote is not None:
            return
        try:
            self._made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(self.name)
        except OSError as error:
            raise InputError(
                f"{self.flag} {self.name}: {error.strerror or error}; give another folder"
            ) from error
        self.check(identity, go_on)

    def release(self) -> None:
        """Let other commands in; not before the report is there, for that is written, too."""
        self._lock.release()
        if self._made:
            with suppress(OSError):  # in which nothing has begun
                self.path.rmdir()

    def publish(self, *names: str) -> None:
        """Bring files, or all in a folder, to where the record lies; those of a local one are."""
        if self._remote is not None:
            self._remote.publish(*names)

    def check(self, identity: dict[str, Any], go_on: bool) -> None:
        """Raise InputError unless the folder can take this study.

        Args:
            identity: what makes the study what it is, flat.
            go_on: whether steps of the same study may be there already.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.flag} {self.name} is a file; give a folder")
        names = self._names()
        if not names:
            return
        if RECORD not in names:
            raise InputError(
                f"{self.flag} {self.name} holds other things than a formation; give a new folder"
            )
        if not go_on:
            raise InputError(
                f"{self.flag} {self.name} holds a formation already; give a new folder, or move"
                " that one away"
            )
        if self._remote is not None:
            wanted = {RECORD, RUN_ID, *(f"{name}.parquet" for name in (*TABLES, SKIPPED))}
            with first_reached(self.flag):
                self._remote.fetch(*sorted(names & wanted))
        known = read_record(self.path)["identity"]
        if found := differing(known, identity):
            raise InputError(
                f"{self.flag} {self.name} holds another formation: it differs in"
                f" {', '.join(found)}; give a new folder, or its settings"
            )

    def _names(self) -> set[str]:
        """Of what lies in the folder, but for files of a process that was killed."""
        if self._remote is not None:
            with first_reached(self.flag):
                names = self._remote.names()
        else:
            names = {e.name for e in self.path.iterdir()} if self.path.is_dir() else set()
        left = {n for n in names if n.startswith(".") and n.endswith(".tmp")}
        return names - left - {LOCK, HOLDER}

    def begin(
        self, identity: dict[str, Any], made_with: dict[str, Any], skipped: Sequence[Skipped] = ()
    ) -> None:
        """Say what the study is, what it was made with and what it leaves out.

        The folder has been checked.
        """
        content = {"schema_version": SCHEMA_VERSION, "identity": identity, **made_with}
        rows = pa.Table.from_pylist([asdict(skip) for skip in skipped], schema=SKIPPED_TABLE)
        try:
            # First: without it the folder is no formation's.
            write_whole(self.path / RECORD, json.dumps(content, indent=1, ensure_ascii=False))
            self._write(SKIPPED, rows)
            self.publish(RECORD)
        except OSError as error:
            raise InputError(
                f"{self.flag} {self.name}: {error.strerror or error}; give another folder"
            ) from error

    def checkpoints(self) -> dict[int, str | None]:
        """The checkpoint of each step that is there."""
        if not (self.path / f"{CONCEPTS}.parquet").is_file():
            return {}
        concepts, _ = read_tables(self.path)
        return dict(zip(concepts["step"], concepts["checkpoint"], strict=True))

    def add(self, concepts: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
        """Put a step to those that are there.

        Args:
            concepts: rows of ``formation.parquet``, without comparisons with other steps.
            neurons: rows of ``formation_neurons.parquet``.

        Returns:
            All rows of ``formation.parquet`` now.
        """
        import pandas as pd

        if (self.path / f"{CONCEPTS}.parquet").is_file():
            before, neurons_before = read_tables(self.path)
            concepts = pd.concat([before[list(concepts.columns)], concepts])
            neurons = pd.concat([neurons_before, neurons])
        # Stable: concepts stay in the order of their groups.
        concepts = concepts.sort_values("step", kind="stable", ignore_index=True)
        neurons = neurons.sort_values("step", kind="stable", ignore_index=True)
        concepts = compared(concepts, neurons)
        # Neurons first: what has no row in the other table is not read.
        study = {STUDY: identity_sha256(read_record(self.path)["identity"])}
        for name, frame in ((NEURONS, neurons), (CONCEPTS, concepts)):
            table = pa.Table.from_pandas(frame, schema=TABLES[name], preserve_index=False)
            self._write(name, table.replace_schema_metadata(study))
        return concepts

    def _write(self, name: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        write_whole(self.path / f"{name}.parquet", sink.getvalue().to_pybytes())
        self.publish(f"{name}.parquet")
