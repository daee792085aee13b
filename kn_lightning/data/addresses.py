"""An address on the web -> what of it may be written down."""

from __future__ import annotations

import re

# Also where the scheme was forgotten: such an address ends up in an error message.
_USER = re.compile(r"^((?:[^/?#@]*:)?/+)?[^/?#]*@")


def public_url(url: str) -> str:
    """The address as records and messages show it: without user, password, query and fragment.

    All of these may hold secrets: "https://me:password@host/data.zip?token=1" gives
    "https://host/data.zip".
    """
    return _USER.sub(r"\1", re.split("[?#]", url, maxsplit=1)[0])
