"""How a script's command ends: well, or in one line that says what was wrong with the input."""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import TextIOWrapper

from kn_lightning.data.addresses import public_text
from kn_lightning.errors import Diverged, InputError, Stopped
from kn_lightning.lost_rank import AGAIN, end_with_the_launcher, lost_rank, say_how_to_go_on
from kn_lightning.printable import printable
from kn_lightning.ranks import BAD_INPUT, check_variables, leave_it_to_rank_0

_SAID = (InputError, ArgumentError, ModuleNotFoundError)
"""Errors whose message is for the user."""
_LONGEST = 1000
"""Letters of a message: it may name a value of any length."""
_MORE_MEMORY = "use a device with more, --trainer.precision bf16-mixed, or shorter prompts"


def run_command(command: Callable[[], None]) -> None:
    """Run a script's command, and end in one line where it can't go on.

    Exit codes: 2 for bad input or a missing package, 1 for a disk that can't be written to, memory
    that doesn't suffice, a rank that has died or a training that has diverged, 128 + its number for
    a signal.

    With ``--debug`` among the arguments the traceback stands before that line.
    """
    _quieten()
    _spell_what_has_no_code()
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [word for word in sys.argv[1:] if word != "--debug"]  # no flag of the parsers
    try:
        check_variables()
        end_with_the_launcher()
        command()
    except (ValueError, ArgumentError, ModuleNotFoundError) as error:
        # jsonargparse wraps what a data class says of its arguments.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, _SAID):
            cause = cause.__cause__
        if cause is None:
            raise
        leave_it_to_rank_0()
        _end(f"error: {cause}", BAD_INPUT, debug)
    except (Stopped, Diverged) as end:
        _end(str(end), end.code, debug)
    except KeyboardInterrupt:
        _end("stopped by Ctrl+C; the same command goes on behind what is finished", 130, debug)
    except OSError as error:
        _end(f"error: {error}; put that right, and the same command goes on", 1, debug)
    except (RuntimeError, MemoryError) as error:
        message = _of_the_machine(error)
        if message is None:
            raise
        _end(f"error: {message}", 1, debug)


def _of_the_machine(error: BaseException) -> str | None:
    """What to say of an error that is the machine's fault, not the program's."""
    from kn_lightning.budget import out_of_memory

    if out_of_memory(error):
        return f"out of memory ({error}); {_MORE_MEMORY}"
    if lost_rank(error):
        return f"another rank has died, or can't be reached ({error}); {AGAIN}"
    return None


def _end(message: str, code: int, debug: bool) -> None:
    if debug:
        sys.stderr.write(printable(_hiding()(traceback.format_exc())))
    # Of files, flags and models: what they hold must not reach the terminal as a command.
    sys.stderr.write(f"{printable(_one_line(public_text(message)))}\n")
    sys.exit(code)


def _hiding() -> Callable[[str], str]:
    """What takes the secrets of the command line and of its config files out of a traceback."""
    from kn_lightning.config_files import read_configs
    from kn_lightning.given import Given

    arguments = sys.argv[1:]
    try:
        configs = read_configs(arguments)
    except InputError:  # what was wrong
        configs = {}
    return Given(arguments, configs).hiding(())


def _one_line(message: str) -> str:
    """The value and the place are at its beginning, the remedy is at its end."""
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]}…{line[-_LONGEST // 2 :]}"


def _spell_what_has_no_code() -> None:
    """Let no letter end a command that a terminal or file of another encoding doesn't have.

    Nor a stream that was closed: what would be said there goes nowhere.
    """
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def loading() -> Iterator[None]:
    """For a script's imports and settings: they are done without collecting garbage.

    They make a million objects, nearly all of which stay to the end. To look for garbage among
    them again and again, and once more at the exit, takes longer than to import torch.

    Large tensors come in huge pages on a CPU, where the machine has them: a study's memory then
    grows less with its length, for batches of ever other sizes leave fewer gaps.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it at its first tensor
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
    # No window is opened; one that isn't there would end the import of matplotlib.
    os.environ.pop("MPLBACKEND", None)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
        ".*You have overridden `transfer_batch_to_device`.*",
        ".*You requested to overfit but enabled train dataloader shuffling.*",
        ".*across ranks is zero.*",  # more ranks than packs are left, or a run that is complete
    ):
        warnings.filterwarnings("ignore", message=message)
    say_how_to_go_on()
