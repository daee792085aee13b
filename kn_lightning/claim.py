"""A study's claim to a folder: no other study's results lie there, and no other process writes."""

from __future__ import annotations

import errno
import json
import os
import platform
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kn_lightning.errors import InputError
from kn_lightning.files import named_errors
from kn_lightning.identity import differing, identity_sha256

LOCK = ".lock"
HOLDER = ".lock.by"
"""Says who has the lock; of the lock itself the system lets go when a process ends in any way."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def identity_of(environment: Path, name: str) -> dict[str, Any] | None:
    """What makes the study of a run folder what it is, flat; None where there is no run.

    Args:
        environment: the file of the folder that says it.
        name: what a user calls the folder.

    Raises:
        InputError: that file is no run's.
    """
    if not environment.is_file():
        return None
    try:
        identity = json.loads(environment.read_text(encoding="utf-8"))["identity"]
        why = f"identity: {identity!r:.60}"
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        identity, why = None, repr(error)
    if not isinstance(identity, dict):
        raise InputError(
            f"run_dir {name}: its {environment.name} is no run's ({why}); give another --run_dir"
        )
    return identity


def check_same(name: str, known: dict[str, Any], identity: dict[str, Any]) -> None:
    """Raise InputError unless the study of a run folder is this one, with what differs.

    Args:
        name: of the folder.
        known: what makes the study there what it is, flat.
        identity: the same of this study.
    """
    if found := differing(known, identity):
        # Where a setting differs, hashes may do so because of it: their values say nothing.
        values = [key for key in found if not key.endswith("sha256")] or found
        changes = ", ".join(
            f"{key} ({known.get(key)!r} there, {identity.get(key)!r} now)" if key in values else key
            for key in sorted(found, key=lambda key: key not in values)
        )
        raise InputError(
            f"run_dir {name} holds another study; it differs in {changes}."
            " Give another --run_dir, the settings of that study to go on with it, or"
            " --overwrite true to lose it"
        )


def check_still(name: str, known: dict[str, Any], study: str, number: int) -> None:
    """Raise InputError where another command has meanwhile begun another study in a run folder.

    Args:
        name: of the folder.
        known: what makes the study there what it is, flat.
        study: SHA-256 of the identity of the one that was begun.
        number: of its pack that was to be written.
    """
    if identity_sha256(known) != study:
        raise InputError(
            f"run_dir {name} holds another study by now, which another command has begun"
            f" there; pack {number} isn't written"
        )


def check_free(path: Path, name: str, left: str, names: Callable[[], set[str]]) -> None:
    """Make a folder, or raise InputError unless it is there and empty.

    Args:
        path: the folder.
        name: what a user calls it.
        left: how the names begin of what a run that was killed at its very first file leaves: that
            is nobody's.
        names: gives those of what lies there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        used = any(not entry.startswith(left) for entry in names())
    except OSError as error:
        raise InputError(
            f"run_dir {name}: {error.strerror or error}; give another --run_dir"
        ) from error
    if used:
        raise InputError(
            f"run_dir {name} is not empty and holds no run (no environment.json); give another"
            " --run_dir"
        )


class RunLock:
    """Keeps a second command from a run folder; one process may take it again and again.

    Args:
        folder: the run folder.
        flag: that named it, for messages.
        other: what to give instead.
    """

    def __init__(
        self, folder: Path, flag: str = "run_dir", other: str = "another --run_dir"
    ) -> None:
        self._flag, self._other = flag, other
        self._holder = folder / HOLDER
        self._file = folder / LOCK
        self._lock: FileLock | None = None

    def acquire(self, name: str) -> None:
        """Take it; on a disk that knows no locks that is a warning.

        Args:
            name: what a user calls the folder.

        Raises:
            InputError: another process has it.
        """
        if self._file.is_symlink():  # none of a run's; what it leads to is another's
            self._file.unlink()
        # By its full path: relative ones of two working directories are not the same lock.
        lock = FileLock(self._file.absolute(), blocking=False, is_singleton=True)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"{self._flag} {name} is being written by {self._named()}; wait for it, or give"
                f" {self._other}"
            ) from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            warnings.warn(
                f"{self._flag} {name} can't be locked ({error}): start no second command on it",
                stacklevel=2,
            )
            return
        self._lock = lock
        with named_errors(self._holder):
            self._holder.unlink(missing_ok=True)  # of a link the file it leads to is another's
            self._holder.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")

    def release(self) -> None:
        """Give it back, where this process has it, and leave no trace."""
        if self._lock is None or not self._lock.is_locked:
            return
        # Before that: of files that are removed later one could be another process's already.
        for file in (self._holder, self._file):
            with suppress(OSError):  # Windows removes no open files
                file.unlink(missing_ok=True)
        self._lock.release(force=True)

    def _named(self) -> str:
        try:
            return self._holder.read_text(encoding="utf-8")
        except (OSError, UnicodeError):
            return "another process"
