"""SIGTERM, SIGUSR1 or Ctrl+C to any one rank -> all ranks end behind the pack they have in hand.

Before the packs and after them: the command ends at once, in one line.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from kn_lightning.errors import Stopped

_STOPPING = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)
]


_GRACE = 10.0
"""Seconds that what is running has to come back to Python, where a signal is answered."""


@contextmanager
def stopped_at_once() -> Iterator[None]:
    """Within it these signals raise :class:`Stopped`, on rank 0; other ranks end with it.

    What runs in C, as ranks that look for one another, may not come back for half an hour: then a
    thread says the line and ends the process.
    """
    rank = int(os.environ.get("LOCAL_RANK", "0") or 0)
    if rank or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _stop) for number in _STOPPING}
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    left = threading.Event()
    threading.Thread(target=_end_what_is_stuck, args=(reading, left), daemon=True).start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)  # ends the thread


@contextmanager
def answered_by_lightning() -> Iterator[None]:
    """Within it a training ends behind its step on these signals, as Lightning does on SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[signal.Signals, Any] = {
        number: signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        for number in _STOPPING
    }
    if hasattr(signal, "SIGUSR1") and "SLURM_JOB_ID" not in os.environ:  # which requeues by it
        handlers[signal.SIGUSR1] = lambda *_: signal.raise_signal(signal.SIGTERM)
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(signal.Signals(number), _at_once(number))


def _at_once(number: int) -> str:
    name = signal.Signals(number).name
    return f"stopped at once by {name}; the same command goes on after what is finished"


def _end_what_is_stuck(reading: int, left: threading.Event) -> None:
    while number := os.read(reading, 1):
        answered = signal.getsignal(number[0]) is not _stop  # by the pack in hand
        if number[0] not in _STOPPING or answered or left.wait(_GRACE):
            continue
        sys.stderr.write(f"{_at_once(number[0])}\n")
        sys.stderr.flush()
        os._exit(128 + number[0])
    os.close(reading)


class StopSignals:
    """Notes a signal in a file of the run folder, where all ranks see it.

    A file, since ranks exchange nothing while a study runs, and a cluster may tell one rank alone.

    Args:
        file: in a folder that is there, on a disk that all ranks share.
        results: what a user calls the place where packs go.
    """

    def __init__(self, file: Path, results: str) -> None:
        self.file = file
        self.results = results
        self._before: dict[signal.Signals, Any] = {}
        self._interrupts = 0
        self._own: signal.Signals | None = None

    @property
    def asked(self) -> signal.Signals | None:
        """The signal that some rank has got."""
        if self._own is not None:
            return self._own
        try:
            return signal.Signals(int(self.file.read_text()))
        except FileNotFoundError:
            return None
        except ValueError:  # another rank is about to write it
            return signal.SIGTERM

    def install(self) -> None:
        """From now on these signals are noted; elsewhere than in the main thread that can't be."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _STOPPING}

    def restore(self) -> None:
        """From now on they do again what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            # By its own count: a terminal sends the first one to all ranks, and one is the first.
            self._interrupts += 1
            if self._interrupts > 1:
                raise Stopped(
                    signal.SIGINT,
                    f"stopped at once by Ctrl+C, without the pack in hand; the same command goes"
                    f" on behind the packs in {self.results}",
                )
            sys.stderr.write("stopping behind the pack in hand (Ctrl+C again: at once)\n")
        try:
            self.file.write_text(str(number))
        except OSError:  # a full disk: the others don't know, but this rank ends behind its pack
            self._own = signal.Signals(number)
