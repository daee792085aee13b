"""What is freed goes back to the machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from kn_lightning.memory import _malloc_trim, return_freed_memory

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="Linux alone tells what is resident"
)


@pytest.mark.skipif(_malloc_trim() is None, reason="this C library gives no memory back on demand")
def test_gaps_among_what_is_kept() -> None:
    kept = []
    before = resident_bytes()
    gone = []
    for _ in range(2000):
        gone.append(torch.ones(25_000))  # 100 KB: below what malloc maps on its own
        kept.append(torch.ones(1))
    gone.clear()
    assert resident_bytes() - before > 100 << 20
    return_freed_memory()
    assert resident_bytes() - before < 20 << 20  # of 200 MB


def test_what_arrow_has_read_with() -> None:
    pool = pa.default_memory_pool()
    before = resident_bytes()
    gone = [pa.allocate_buffer(1 << 20, memory_pool=pool) for _ in range(200)]
    for buffer in gone:
        np.frombuffer(buffer, dtype="uint8")[:] = 1
    del buffer
    gone.clear()
    return_freed_memory()
    assert resident_bytes() - before < 20 << 20  # of 200 MB


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))
