"""Content → a file, or a folder of files, that is there whole or not at all, even after a crash."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from kn_lightning.data.addresses import public_text
from kn_lightning.errors import InputError

_LEFT = re.compile(r"(\w+/)?\.[^/]+\.\d+\.tmp", re.ASCII)
_ASIDE = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


def checked_path(flag: str, name: str | Path) -> Path:
    """The path that a flag gives, of a file or folder that may be there or not.

    Raises:
        InputError: no file of this system can have that name.
    """
    shown = public_text(str(name))  # before it is cut: half an address shows its password
    try:
        os.lstat(name)
    except ValueError as error:  # a zero byte, half of an emoji
        raise InputError(f"{flag} {shown!r:.60}: {error}; give another name") from error
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
            raise InputError(
                f"{flag} {shown!r:.60} of {len(str(name))} letters: {error.strerror}; give"
                " another name"
            ) from error
    return Path(name)


def check_whole(flag: str, path: Path) -> None:
    """Raise InputError for a pipe or a device: one gives its content once, or never an end of it.

    A study reads its data a second time for their hash. A file that isn't there, or a folder, is
    left to whoever opens it; this must come before that, for a pipe waits for its other end.
    """
    if what := _special(path):
        raise InputError(f"{flag} {path}: {what}, not a file; write it into a file, and give that")


def check_replaceable(flag: str, path: Path) -> None:
    """Raise InputError for a pipe, a device or a link to a file: a file would take its place."""
    if what := _special(path) or (path.is_symlink() and not path.is_dir() and "a link"):
        raise InputError(f"{flag} {path}: {what}, whose place a file would take; give a file")


def _special(path: Path) -> str | None:
    """What something is that is neither file nor folder, and is there."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or the like"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write under a temporary name in the same folder, then move into place.

    Args:
        path: Where the file goes; its folder is made when missing.
        content: Text (written as UTF-8) or bytes.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two reports of one folder apart; the last one wins, whole.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with named_errors(path):
            temporary.write_bytes(data)
            move_whole(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Errors of a disk say which file, or folder, of results they are about: a full disk doesn't.

    Raises:
        OSError: what goes wrong in the block, by safetensors, too, which has an error of its own.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        if error.errno is None:  # as of Arrow
            raise OSError(f"{path}: {error}") from error
        raise OSError(error.errno, error.strerror, str(path)) from error
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from error


def move_whole(temporary: Path, path: Path) -> None:
    """Rename a file, or a folder of files, once all of it is on the disk and not just on its way.

    Raises:
        OSError: ``path`` is a folder that is not empty.
    """
    for inner in sorted(temporary.iterdir()) if temporary.is_dir() else ():
        _sync(inner)
    _sync(temporary)
    os.replace(temporary, path)
    _sync(path.parent)


def remove_folder(folder: Path, beside: Path) -> None:
    """Remove a folder that another process may still fill, move or remove.

    Under another name that process doesn't find it, and moves no half of it into place.

    Args:
        folder: may be there or not.
        beside: folder of the same disk that takes it meanwhile; what the other process adds in that
            moment is left there, as :func:`is_aside` says.
    """
    aside = beside / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    with suppress(FileNotFoundError):
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def remove_entry(path: Path, beside: Path) -> None:
    """Remove a file, a link or a folder, as :func:`remove_folder`; of a link not what it leads to.

    Args:
        path: may be there or not.
        beside: as for a folder.
    """
    if path.is_dir() and not path.is_symlink():
        remove_folder(path, beside)
    else:
        path.unlink(missing_ok=True)


def names_below(folder: Path, *inner: str) -> set[str]:
    """Of what lies in a folder, or, with their own, in folders of it; not of what is removed.

    Args:
        folder: may be there or not.
        inner: names of folders of it, which may be there or not.
    """
    places = [folder / name for name in inner or (".",)]
    found = [entry for place in places if place.is_dir() for entry in place.iterdir()]
    return {entry.relative_to(folder).as_posix() for entry in found if not is_aside(entry)}


def is_left(name: str) -> bool:
    """Whether that is what :func:`write_whole` leaves of a file where its process is killed.

    Args:
        name: of an entry of a folder, maybe within one of its.
    """
    return _LEFT.fullmatch(name) is not None


def is_aside(path: Path) -> bool:
    """Whether a folder is being removed, or was when its process was killed."""
    return _ASIDE.fullmatch(path.name) is not None


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    number = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)
