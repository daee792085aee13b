"""Other people's text -> text that neither steers a terminal nor turns a line around."""

from __future__ import annotations

import re

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and newline, DEL, C1: ANSI sequences begin so
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, overrides and isolates of direction
    "\u2028\u2029\ufeff\ud800-\udfff]"  # further ends of lines, byte order mark, half characters
)


def printable(text: str) -> str:
    r"""The same with controls spelled, such as ``\x1b`` or ``\u202e``; joined emoji stay whole."""
    return _STEERING.sub(lambda found: _spelled(ord(found[0])), text)


def _spelled(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
