"""What ends a command in one line: bad input (exit code 2), and a stop that was asked for."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from difflib import get_close_matches

_TELLING = 3
"""Letters of a beginning that says which name is meant."""
_ALIKE = 0.8
"""How like each other whole names of two sections are for one to be meant by the other."""


class InputError(ValueError):
    """Bad input: the message names the file, line or flag, the value, and what to do."""


class Stopped(BaseException):
    """A signal ended the study before it was done; the message says how to go on.

    No Exception, which others may take for an error of theirs.

    Args:
        number: of the signal; the exit code is 128 more, as shells have it.
        message: one line.
    """

    def __init__(self, number: signal.Signals, message: str) -> None:
        super().__init__(message)
        self.code = 128 + number


class Diverged(Exception):
    """A training has ended in weights that are no numbers; the message says which, and what to do.

    That is no bad input: the exit code is 1.
    """

    code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """``" (did you mean X?)"`` with the known name that is most like it, or nothing."""
    names = sorted(known)
    section, _, last = name.rpartition(".")
    lasts = {one: one.rpartition(".")[2] for one in names}
    # The beginning that names of a section share would make all of them alike.
    own = {lasts[one]: one for one in names if one.rpartition(".")[0] == section}
    alike = [one for one in names if lasts[one] == last]
    alike = alike or [own[one] for one in get_close_matches(last, own, n=1)]
    alike = alike or get_close_matches(name, names, n=1, cutoff=_ALIKE)
    if not alike and len(last) >= _TELLING:
        alike = [one for one in names if lasts[one].lower().startswith(last.lower())]
    return f" (did you mean {alike[0]}?)" if alike else ""
