"""What ends a command in one line: bad input (exit code 2), and a stop that was asked for."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from difflib import get_close_matches

_TELLING = 3
"""Letters of a beginning that says which name is meant."""


class InputError(ValueError):
    """Bad input: the message names the file, line or flag, the value, and what to do."""


class Stopped(Exception):
    """A signal ended the study before it was done; the message says how to go on.

    Args:
        number: of the signal; the exit code is 128 more, as shells have it.
        message: one line.
    """

    def __init__(self, number: signal.Signals, message: str) -> None:
        super().__init__(message)
        self.code = 128 + number


def nearest(name: str, known: Iterable[str]) -> str:
    """``" (did you mean X?)"`` with the known name that is most like it, or nothing."""
    names = sorted(known)
    same = [one for one in names if one.rpartition(".")[2] == name]
    match = same[:1] or get_close_matches(name, names, n=1)
    if not match and len(name) >= _TELLING:
        match = [one for one in names if one.lower().startswith(name.lower())]
    return f" (did you mean {match[0]}?)" if match else ""
