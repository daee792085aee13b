"""A run folder on disk: opened or resumed, filled pack by pack, closed whole.

Closing joins what is below ``parts/``, in the study's order, to the tables.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from kn_lightning.census import (
    check_all,
    check_inside,
    check_names,
    check_parts,
    is_temporary,
    study_of,
)
from kn_lightning.claim import RunLock, check_free, check_same, check_still
from kn_lightning.digests import (
    DIGESTS,
    SECONDS,
    check_config,
    check_left,
    check_record,
    check_scores,
    check_tables,
    digest,
)
from kn_lightning.files import is_aside, is_left, move_whole, remove_folder, write_whole
from kn_lightning.identity import identity_sha256
from kn_lightning.pack_claims import end_claims
from kn_lightning.part_names import part_name, scores_file
from kn_lightning.parts import finished, joined_records, joined_rows, write_part, write_rows
from kn_lightning.run_entries import RunEntries
from kn_lightning.run_names import (
    CONFIG,
    ENVIRONMENT,
    SKIPPED,
    STAYING,
    check_kinds,
    name_others,
    refuse_others,
)
from kn_lightning.schema import ASKED_BY, TABLES


class RunFolder(RunEntries):
    """Results of one study in one folder.

    Attributes:
        has_claims: ranks can claim packs in it.
        study: SHA-256 of the study's identity; :meth:`open` sets it, on the rank that opens.

    Args:
        path: the folder; made when the run is opened.
    """

    has_claims = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.parts = path / "parts"
        self.stop_file = path / "stop"
        """Where a signal to one rank is noted for all."""
        self.study = ""
        self._lock = RunLock(path)

    @property
    def is_complete(self) -> bool:
        """Whether the run was closed, and all tables are in place."""
        if not {*self._files(), SKIPPED, ENVIRONMENT} <= self._names():
            return False
        # Else they are somebody's own. Earlier versions have noted no digests.
        environment = self.environment()
        return DIGESTS in environment or bool(environment.get(SECONDS))

    def fetch(self) -> Path:
        """The folder of a finished run, here: a local one is.

        Raises:
            InputError: a file lies where a run has a folder, or the other way round.
        """
        if self.path.is_dir():
            check_kinds(self.path, self.name)
        return self.path

    def open(
        self,
        config: dict[str, Any],
        environment: dict[str, Any],
        skipped: pa.Table,
        identity: dict[str, Any],
        overwrite: bool = False,
    ) -> None:
        """Make the folder, or check that it holds this very study.

        Args:
            config: resolved settings, kept as ``config.yaml``.
            environment: versions, device, hashes; kept as ``environment.json``.
            skipped: rows of ``skipped.parquet``.
            identity: the settings and hashes that make the study what it is, flat.
            overwrite: whether to remove what a run has written there, of whichever study.

        Raises:
            InputError: the folder holds another study, or something that is no run, or another
                process writes there.
        """
        self.study = identity_sha256(identity)
        self.admit(identity, overwrite)
        if overwrite and self._identity() is not None:
            self._remove_run()
        # Once more: until it was claimed another process could begin a run there.
        if not self._admits(identity):
            # First: a folder with an environment holds a run, and knows which.
            self.write_environment({**environment, "identity": identity})
        else:
            name_others(self._names() | self._names(*STAYING), self.name)
        self.stop_file.unlink(missing_ok=True)
        end_claims(self.path)  # of a run that was cut off
        for left in filter(is_aside, self.path.iterdir()):
            shutil.rmtree(left, ignore_errors=True)
        for name in filter(is_left, self._names() | self._names(*STAYING)):
            self._remove(name)
        complete = self.is_complete
        if complete and CONFIG in self._names():
            return
        write_whole(self.path / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        if complete:
            self._note_config()
            return
        self.parts.mkdir(exist_ok=True)
        for left in filter(is_temporary, self.parts.iterdir()):  # of ranks that were killed
            remove_folder(left, self.path)
        move_whole(write_rows([skipped], self._temporary("skipped")), self.path / SKIPPED)

    def _note_config(self) -> None:
        """Say anew what is in ``config.yaml`` of a finished run, from which it was deleted."""
        environment = self.environment()
        config = {CONFIG: digest(self.path / CONFIG)}
        self.write_environment(environment | {DIGESTS: environment.get(DIGESTS, {}) | config})

    def admit(self, identity: dict[str, Any], overwrite: bool = False) -> None:
        """Keep other processes out until :meth:`release`, or refuse what :meth:`open` refuses."""
        if overwrite and self._identity() is not None:
            check_kinds(self.path, self.name)
        else:
            self._admits(identity)
        self._claim()

    def _admits(self, identity: dict[str, Any]) -> bool:
        """Whether a run of that study is there; raises InputError where anything else is."""
        known = self._identity()
        if known is None:
            check_free(self.path, self.name, f".{ENVIRONMENT}.", self._names)
        else:
            check_same(self.name, known, identity)
        check_kinds(self.path, self.name)
        return known is not None

    def _claim(self) -> None:
        self._lock.acquire(self.name)

    def release(self) -> None:
        """Let other processes in; not before the report is there, for that is written, too."""
        self._lock.release()

    def _remove_run(self) -> None:
        """Empty the folder, or raise InputError where it holds what no run has written."""
        self._check_part_names()
        names = self._names()  # once: what comes meanwhile is not removed
        refuse_others(names | self._names(*STAYING), self.name)
        # Its environment last: until then it is known to be a run.
        for name in sorted(names, key=ENVIRONMENT.__eq__):
            self._remove(name)

    def check(self, plan: Sequence[Sequence[str]]) -> None:
        """Raise InputError where a part or table is not as it was written, or not of this study.

        Args:
            plan: of each pack, the ids of its prompts in order.
        """
        check_record(self.environment(), self.name)
        if self.is_complete:
            check_config(self.path, self.environment(), self.name)
            check_tables(self.path, self.environment(), self.name)
            check_scores(self.environment(), self.name, self._scores_sha256)
            self._check_part_names()  # of a run that was cut off while closing
            self._remove("parts")
        else:
            files = self._files()
            check_left(self.path, self.environment(), self.name, files)
            check_parts(self.parts, plan, self.study, files, self._scores_sha256, self._part)

    def _check_part_names(self) -> None:
        """Raise InputError where something lies among the parts, or in one, that is none of it."""
        if self.parts.is_dir():
            check_names(self.parts)
            check_inside(self.parts)

    def _part(self, number: int) -> str:
        """What a user calls the part of a pack."""
        return str(self.parts / part_name(number))

    def finished_packs(self) -> frozenset[int]:
        """Numbers of the packs that are wholly on disk."""
        return finished(self.parts)

    def write_part(
        self,
        number: int,
        tables: dict[str, pa.Table],
        seconds: dict[str, float],
        scores: bytes | None = None,
    ) -> bool:
        """Put one pack's tables, and the time it took by stage, on disk: all of it, or nothing.

        A pack that is there already stays as it is, with its scores; then that is False.

        Args:
            number: of the pack.
            tables: its rows, by name.
            seconds: that it took, by stage.
            scores: all of its scores, where they are kept; they are on disk before the rest.

        Raises:
            InputError: another command has begun another study there.
        """
        self._check_study(number)
        if self.is_complete or self._has_part(number):  # a rank may outlive its command
            return False
        if scores is not None:
            self._write_scores(scores_file(number), scores)
        write_part(self.parts, number, tables, seconds, self.study, scores, self._scores_sha256)
        return True

    def _has_part(self, number: int) -> bool:
        """Whether a pack of this very study is there."""
        return study_of(self.parts / part_name(number)) == self.study

    def _check_study(self, number: int) -> None:
        """A rank may outlive its command, and --overwrite the study."""
        check_still(self.name, self._identity() or {}, self.study, number)

    def close(self, n_packs: int) -> None:
        """Join the parts to the tables, add up their seconds, and remove them.

        Raises:
            InputError: a pack is missing.
        """
        check_all(self.finished_packs(), n_packs, self.name)
        parts = [self.parts / part_name(number) for number in range(n_packs)]
        files = {SKIPPED: self.path / SKIPPED}
        for file, name in self._files().items():
            rows = joined_rows(parts, name, self._identity() or {})
            files[file] = write_rows(rows, self._temporary(name))
        seconds, scores = joined_records(parts)
        digests = {name: digest(path) for name, path in files.items()}
        digests[CONFIG] = digest(self.path / CONFIG)
        del files[SKIPPED]
        for name in files:  # of a run that is computed again, before it is said what is in the new
            self._remove(name)
        # Before they are in place: with all of them there the run is complete, and is checked.
        self.write_environment(self.environment() | {SECONDS: seconds, DIGESTS: digests | scores})
        for name, temporary in files.items():
            move_whole(temporary, self.path / name)
        remove_folder(self.parts, self.path)
        self.stop_file.unlink(missing_ok=True)

    def _files(self) -> dict[str, str]:
        """Names of the tables that grow with this study, by their files."""
        asked = self._identity() or {}
        names = *TABLES, *(name for name, setting in ASKED_BY.items() if asked.get(setting))
        return {f"{name}.parquet": name for name in names}

    def _temporary(self, name: str) -> Path:
        """A new file for a table: one that lies there may be a link to somewhere else."""
        path = self.path / f"{name}.parquet.tmp"
        path.unlink(missing_ok=True)
        return path
