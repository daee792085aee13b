"""A rank that has died -> what the others say of it, and how to go on."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

AGAIN = "give the same command again: a study goes on behind the packs that are finished"


_LAUNCHER = "KN_LIGHTNING_LAUNCHER"
"""The process that Lightning begins the ranks of this node from."""


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


def end_with_the_launcher() -> None:
    """Where what has begun this rank dies before ranks know of one another, this rank ends, too.

    It would look for rank 0 for half an hour. Later the backend says which rank is gone.
    """
    if not int(os.environ.get("LOCAL_RANK") or 0):
        os.environ[_LAUNCHER] = str(os.getpid())
        return
    # It may be dead by now, and then this process has another parent.
    own = "" if "TORCHELASTIC_RUN_ID" in os.environ else os.environ.get(_LAUNCHER, "")
    parent = int(own) if own.isdecimal() else os.getppid()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        distributed = sys.modules.get("torch.distributed")
        if distributed is not None and getattr(distributed, "is_initialized", bool)():
            return
        time.sleep(1)
    sys.stderr.write(f"error: what began this rank has died; {AGAIN}\n")
    sys.stderr.flush()
    os._exit(1)


def _with_remedy(record: logging.LogRecord) -> bool:
    if "terminated with code" in record.getMessage():
        record.msg = f"{record.getMessage()}; {AGAIN}"
        record.args = ()
    return True
