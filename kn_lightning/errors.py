"""The one exception that means "your input": shown as one line, exit code 2."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input: the message names the file, line or flag, the value, and what to do."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``" (did you mean X?)"`` with the known name that is most like it, or nothing."""
    names = sorted(known)
    same = [one for one in names if one.rpartition(".")[2] == name]
    match = same[:1] or get_close_matches(name, names, n=1)
    return f" (did you mean {match[0]}?)" if match else ""
