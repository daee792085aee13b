"""How a script's command ends: well, or in one line that says what was wrong with the input."""

from __future__ import annotations

import logging
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Callable

from kn_lightning.errors import InputError

_SAID = (InputError, ArgumentError, ModuleNotFoundError)
"""Errors whose message is for the user."""


def run_command(command: Callable[[], None]) -> None:
    """Run a script's command: bad input, or a missing package, is one line and exit code 2."""
    _quieten()
    try:
        command()
    except (ValueError, ArgumentError, ModuleNotFoundError) as error:
        # jsonargparse wraps what a data class says of its arguments.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, _SAID):
            cause = cause.__cause__
        if cause is None:
            raise
        sys.stderr.write(f"error: {' '.join(str(cause).split())}\n")
        sys.exit(2)


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
