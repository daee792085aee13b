"""A rank that has died -> what the others say of it, and how to go on."""

from __future__ import annotations

import logging

AGAIN = "give the same command again: a study goes on behind the packs that are finished"


def lost_rank(error: BaseException) -> bool:
    """Whether an error says that another rank doesn't answer."""
    from torch.distributed import DistError

    # Gloo's errors have no type of their own, but they name the place in its code.
    return isinstance(error, DistError) or "/gloo/" in str(error)


def say_how_to_go_on() -> None:
    """Where Lightning ends all ranks at once, since one has died, its message says what to do."""
    launcher = logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script")
    if not launcher.filters:
        launcher.addFilter(_with_remedy)


def _with_remedy(record: logging.LogRecord) -> bool:
    if "terminated with code" in record.getMessage():
        record.msg = f"{record.getMessage()}; {AGAIN}"
        record.args = ()
    return True
