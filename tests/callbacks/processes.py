"""The processes that another one has started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(
    sys.platform != "linux", reason="looks for processes where Linux keeps them, in /proc"
)


def children(pid: int) -> list[int]:
    """Process ids, those that any of its threads has started."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
