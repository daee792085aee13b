"""How a script's command ends: well, or in one line that says what was wrong with the input."""

from __future__ import annotations

import gc
import logging
import sys
import traceback
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from kn_lightning.errors import InputError

_SAID = (InputError, ArgumentError, ModuleNotFoundError)
"""Errors whose message is for the user."""


def run_command(command: Callable[[], None]) -> None:
    """Run a script's command: bad input, or a missing package, is one line and exit code 2.

    With ``--debug`` among the arguments the traceback stands before that line.
    """
    _quieten()
    debug = "--debug" in sys.argv[1:]
    if debug:
        sys.argv.remove("--debug")  # no flag of any of the parsers
    try:
        command()
    except (ValueError, ArgumentError, ModuleNotFoundError) as error:
        # jsonargparse wraps what a data class says of its arguments.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, _SAID):
            cause = cause.__cause__
        if cause is None:
            raise
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {' '.join(str(cause).split())}\n")
        sys.exit(2)


@contextmanager
def loading() -> Iterator[None]:
    """For a script's imports and settings: they are done without collecting garbage.

    They make a million objects, nearly all of which stay to the end. To look for garbage among
    them again and again, and once more at the exit, takes longer than to import torch.
    """
    gc.disable()
    try:
        yield
    finally:
        _set_apart()
        gc.enable()


@cache
def _set_apart() -> None:
    """Keep the collector from what there is now; once a process, for later there is garbage."""
    gc.freeze()


def _quieten() -> None:
    """Hush what says nothing to a user of these scripts."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
        ".*You have overridden `transfer_batch_to_device`.*",
        ".*across ranks is zero.*",  # more ranks than packs are left, or a run that is complete
    ):
        warnings.filterwarnings("ignore", message=message)
