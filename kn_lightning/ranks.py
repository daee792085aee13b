"""Bad input that one rank finds, or all -> one line, by rank 0; the others end without a word."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from kn_lightning.errors import InputError

T = TypeVar("T")

BAD_INPUT = 2
"""Exit code."""
_PATIENCE = 10.0
"""Seconds in which a rank that loads the same as rank 0 must have come as far."""


_NUMBERS = (
    *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MASTER_PORT", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS"),
    "JSM_NAMESPACE_RANK",
)
"""Variables of a launcher that Lightning, or torch, takes for whole numbers."""


def check_variables() -> None:
    """Raise InputError where a launcher's variable is no number, as one left in a shell may be."""
    for name in _NUMBERS:
        value = os.environ.get(name, "0")
        if not re.fullmatch(r"-?[0-9]+", value):
            raise InputError(
                f"variable {name} of the environment is {value!r:.60}, not a whole number; unset"
                " it, or start with torchrun or srun, which set it"
            )


def on_all_ranks(do: Callable[[], T]) -> T:
    """What ``do`` gives on this rank, once it has ended on all ranks, and well.

    A collective: all ranks must call it, at the same point.

    Raises:
        InputError: on rank 0, the one of the first rank where there is any; no other rank's differs
            but where it reads another disk.
        SystemExit: on all other ranks, with the exit code of bad input.
    """
    result: list[T] = []
    error: InputError | None = None
    try:
        result.append(do())
    except InputError as own:
        error = own
    rank, said = _gathered(None if error is None else str(error))
    first = next((other for other, text in enumerate(said) if text is not None), None)
    if first is None:
        return result[0]
    _part()
    if rank != 0:
        raise SystemExit(BAD_INPUT) from error
    raise error or InputError(f"rank {first}: {said[first]}")


def _gathered(text: str | None) -> tuple[int, list[str | None]]:
    """This rank, and the text of each."""
    from torch import distributed  # here: what ends a command must not wait for torch

    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, [text]
    said: list[str | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(said, text)
    return distributed.get_rank(), said


def _part() -> None:
    """Leave the group: a rank whose threads still listen to the others may abort at its end."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def leave_it_to_rank_0() -> None:
    """Give rank 0 the time to say what has gone wrong here, before ranks know of one another.

    torchrun, or Lightning's launcher, then ends this process. Where rank 0 has no such error, as on
    a node that lacks a file, it goes on, and this rank has to say it.
    """
    if "lightning.pytorch" not in sys.modules:  # a command without ranks
        return
    from lightning.pytorch.utilities import rank_zero_only

    if rank_zero_only.rank:  # type: ignore[attr-defined]
        time.sleep(_PATIENCE)
