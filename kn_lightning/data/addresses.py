"""An address on the web, or a text that has some -> what of it may be written down."""

from __future__ import annotations

import re

# Also where the scheme was forgotten: such an address ends up in an error message.
_USER = re.compile(r"^((?:[^/?#@]*:)?/+)?(?:[^/?#:@]*:(?!\d*/)[^?]{0,200}|[^/?#]*)@")
_END = r"[)\]}'\"?!.,:;]{0,9}(?:\s|$)"
"""Of an address in a sentence: the marks behind it belong to the sentence.

Numbers of letters are bounded: a message may have millions, of which each could begin an address.
"""
_IN_TEXT = re.compile(
    r"([a-z][a-z\d+.-]{1,30}:/+|(?<![^\s'\"=(\[,])//)"  # a path object leaves one slash of two
    # A password may have a slash, which ends what is before a port.
    r"(?:[^/\s:@]{0,200}:(?!\d*/)\S{0,200}@|[^/\s]*@)?"
    r"([^\s?#]*)"
    rf"(?:[?#](?!{_END})\S*?(?={_END}))?",
    re.IGNORECASE,
)


def public_url(url: str) -> str:
    """The address as records and messages show it: without user, password, query and fragment.

    All of these may hold secrets: "https://me:password@host/data.zip?token=1" gives
    "https://host/data.zip".
    """
    return re.split("[?#]", _USER.sub(r"\1", url), maxsplit=1)[0]


def public_text(text: str) -> str:
    """A message with each address in it as :func:`public_url` shows it; all else stays."""
    return _IN_TEXT.sub(r"\1\2", text)
