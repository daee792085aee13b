"""How much is computed together: fitted to the memory, and halved where that was too much."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TypeVar

import torch

from kn_lightning.encoders.encoder import Encoder
from kn_lightning.memory import return_freed_memory

T = TypeVar("T")

_CPU_BYTES, _CPU_ROW_TOKENS = 1 << 30, 1 << 11
"""Larger batches than these make a CPU no faster."""

_RETURN_EVERY = 8
"""Runs from one return of freed memory to the next: what is given back is missed by the next run,
which takes up to a tenth longer."""

_log = logging.getLogger(__name__)


class RowBudget:
    """Rows x tokens of one climb through all layers; rows that start higher count for less.

    Args:
        row_tokens: to begin with.
    """

    def __init__(self, row_tokens: int) -> None:
        self.row_tokens = row_tokens
        self._runs = 0

    @classmethod
    def fitting(cls, encoder: Encoder) -> RowBudget:
        """What fits into the memory that is free now."""
        return cls(fitting_row_tokens(encoder))

    def run(self, compute: Callable[[int], T]) -> T:
        """``compute(row_tokens)``, with half as many, again and again, where memory runs out.

        What is computed together changes results by rounding alone.
        """
        while True:
            try:
                result = compute(self.row_tokens)
            except RuntimeError as error:
                if not out_of_memory(error) or self.row_tokens == 1:
                    raise
            else:
                self._runs += 1
                if self._runs % _RETURN_EVERY == 0:
                    return_freed_memory()
                return result
            # Behind the except block the error no longer holds the tensors of its frames.
            from lightning.pytorch.utilities.memory import garbage_collection_cuda

            garbage_collection_cuda()
            self.row_tokens = max(1, self.row_tokens // 2)
            _log.warning("out of memory: going on with %d rows x tokens together", self.row_tokens)


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error says, of a device or of the machine."""
    # Lightning knows the ways to say so that are no exceptions of their own.
    from lightning.pytorch.utilities.memory import is_oom_error

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or is_oom_error(error)


def fitting_row_tokens(encoder: Encoder) -> int:
    """Rows x tokens whose graph fits into a share of the memory that is free now."""
    structure = encoder.structure
    # Kept for the backward of one token in one layer: the activation function's input (I),
    # queries, keys, values, attention output and the inputs of two norms and two sums (about 9 H).
    # A layer's own outputs come on top.
    kept = structure.n_neurons + 9 * structure.hidden_size
    fitting = _free_bytes(encoder.device) // (4 * kept * (structure.n_layers + 2))
    return max(256, fitting if encoder.device.type == "cuda" else min(fitting, _CPU_ROW_TOKENS))


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // 2)
    # What other processes use for files counts as used here: the estimate is a careful one.
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system tells
        return _CPU_BYTES
    return min(_CPU_BYTES, free // 4)
