"""Memory that this process no longer uses → back to the machine."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

import pyarrow as pa


def return_freed_memory() -> None:
    """Gives the machine back what tensors, tables and frames no longer use.

    Batches have ever other sizes, and glibc keeps the gaps that they leave: without this a study's
    memory grows by a fifth over its first thousand groups. Arrow keeps what it has read with.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)
    pa.default_memory_pool().release_unused()


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """glibc's; other C libraries have none, and keep less."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return getattr(library, "malloc_trim", None)
