"""SIGTERM, SIGUSR1 or Ctrl+C to any one rank -> all ranks end behind the pack they have in hand."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from kn_lightning.errors import Stopped

_STOPPING = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)
]


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

    @property
    def asked(self) -> signal.Signals | None:
        """The signal that some rank has got."""
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
        self.file.write_text(str(number))
