"""What makes a study the same as another: settings and hashes, flat."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """In which keys two studies' identities differ, in order."""
    return sorted(key for key in {*one, *other} if one.get(key) != other.get(key))


def identity_sha256(identity: Mapping[str, Any]) -> str:
    """Of what makes a study what it is."""
    return content_sha256(dict(identity))


def content_sha256(content: Any) -> str:
    """Of what JSON can hold."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
