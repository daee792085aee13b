"""Text or bytes → a file that is there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


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
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
