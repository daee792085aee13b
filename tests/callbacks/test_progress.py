"""How far a study is, on a terminal and elsewhere."""

from __future__ import annotations

import errno
import io
import re
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from kn_lightning.callbacks import progress
from kn_lightning.callbacks.progress import ProgressCallback
from kn_lightning.data.study import Pack
from kn_lightning.outcome import Outcome
from kn_lightning.schema import EncodedGroup, EncodedPrompt

from .commands import command as run_command
from .commands import no_report


def pack(number: int, n_prompts: int) -> Pack:
    """A pack of one group."""
    prompt = EncodedPrompt("cat/0", "cat", "", None, (1,), (0,), (0,))
    return Pack(number, (EncodedGroup("cat", None, (prompt,) * n_prompts),))


PACKS = [pack(0, 10), pack(1, 30), pack(2, 20), pack(3, 40)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, set by the test."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> io.StringIO:
    """What is written; a terminal where the test's parameter says so."""
    written = io.StringIO()
    terminal = getattr(request, "param", False)
    monkeypatch.setattr(
        progress, "Console", lambda **_: Console(file=written, force_terminal=terminal, width=120)
    )
    return written


def trainer(finished: tuple[int, ...] = (), rank: int = 0, ranks: int = 1) -> Any:
    """As much of a trainer as progress looks at."""
    data = SimpleNamespace(study=SimpleNamespace(packs=PACKS), finished=frozenset(finished))
    data.there = set(finished)
    data.on_disk = lambda: frozenset(data.there)
    data.stopped = lambda: False
    return SimpleNamespace(is_global_zero=rank == 0, world_size=ranks, datamodule=data)


def finish(callback: ProgressCallback, on: Any, one: Pack) -> None:
    """A pack is done, and then on disk."""
    callback.on_predict_batch_end(on, cast("Any", None), Outcome(one, cast("Any", None)))
    on.datamodule.there.add(one.number)


def test_lines_say_prompts_a_second_and_time_left(clock: list[float], console: io.StringIO) -> None:
    callback, on = ProgressCallback(interval=0), trainer()
    callback.on_predict_start(on, cast("Any", None))
    for one, now in zip(PACKS, (102.0, 108.0, 112.0, 120.0), strict=True):
        clock[0] = now
        finish(callback, on, one)
    callback.on_predict_end(on, cast("Any", None))
    assert console.getvalue().splitlines() == [
        "10 of 100 prompts, 5.0 prompts/s, 18 s left",
        "40 of 100 prompts, 5.0 prompts/s, 12 s left",
        "60 of 100 prompts, 5.0 prompts/s, 8 s left",
        "100 of 100 prompts, 5.0 prompts/s, 0 s left",
    ]


class Full(io.StringIO):
    """A log on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_ends_no_study(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=Full(), width=120))
    callback, on = ProgressCallback(interval=0), trainer(finished=(3,))
    callback.on_predict_start(on, cast("Any", None))
    for one in PACKS[:3]:
        clock[0] += 1
        finish(callback, on, one)
    callback.on_predict_end(on, cast("Any", None))


class Terminal(io.StringIO):
    """Something written to that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", ["", "1"])
def test_bar_on_a_terminal_is_plain_with_no_color(
    no_color: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NO_COLOR": no_color, "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    written = Terminal()
    monkeypatch.setattr(sys, "stderr", written)
    callback, on = ProgressCallback(), trainer()
    callback.on_predict_start(on, cast("Any", None))
    for one in PACKS:
        finish(callback, on, one)
    callback.on_predict_end(on, cast("Any", None))
    assert "100/100" in written.getvalue()
    coloured = re.search(r"\x1b\[[\d;]*\b(3[1-7]|38|9\d)\b[\d;]*m", written.getvalue())
    assert (coloured is None) == bool(no_color)


def test_lines_come_at_the_interval_and_at_the_end(
    clock: list[float], console: io.StringIO
) -> None:
    callback, on = ProgressCallback(interval=7), trainer()
    callback.on_predict_start(on, cast("Any", None))
    for one, now in zip(PACKS, (102.0, 108.0, 112.0, 113.0), strict=True):
        clock[0] = now
        finish(callback, on, one)
    assert [line.split()[0] for line in console.getvalue().splitlines()] == ["40", "100"]


def test_resumed_study_counts_what_is_left_of_it(clock: list[float], console: io.StringIO) -> None:
    callback = ProgressCallback(interval=0)
    on = trainer(finished=(0, 2))
    callback.on_predict_start(on, cast("Any", None))
    clock[0] += 10
    finish(callback, on, PACKS[1])
    first, second = console.getvalue().splitlines()
    assert "2 of 4 packs" in first
    assert second == "30 of 70 prompts, 3.0 prompts/s, 13 s left"


def test_first_of_two_ranks_speaks_of_what_all_have_done(
    clock: list[float], console: io.StringIO
) -> None:
    callback, on = ProgressCallback(interval=0), trainer(ranks=2)
    callback.on_predict_start(on, cast("Any", None))
    clock[0] += 1
    on.datamodule.there.add(3)  # by the other rank
    finish(callback, on, PACKS[0])
    callback.on_predict_end(on, cast("Any", None))
    assert console.getvalue().splitlines() == [
        "50 of 100 prompts, 50.0 prompts/s, 1 s left",
        "rank 0 is done; the others are at the last 2 packs",
    ]
    console.truncate(0)
    console.seek(0)
    callback, on = ProgressCallback(interval=0), trainer(ranks=2)
    callback.on_predict_start(on, cast("Any", None))
    on.datamodule.stopped = lambda: True  # what is left is nobody's
    callback.on_predict_end(on, cast("Any", None))
    assert console.getvalue() == ""
    other, on = ProgressCallback(interval=0), trainer(rank=1, ranks=2)
    other.on_predict_start(on, cast("Any", None))
    finish(other, on, PACKS[1])
    other.on_predict_end(on, cast("Any", None))
    assert console.getvalue() == ""


@pytest.mark.parametrize("console", [True], indirect=True)
@pytest.mark.parametrize("how", ["end", "exception"])
def test_bar_on_a_terminal_shows_rate_and_gives_the_terminal_back(
    console: io.StringIO, how: str
) -> None:
    callback = ProgressCallback()
    callback.on_predict_start(trainer(), cast("Any", None))
    assert "\x1b[?25l" in console.getvalue()  # the cursor is hidden
    finish(callback, trainer(), PACKS[0])
    if how == "end":
        callback.on_predict_end(trainer(), cast("Any", None))
    else:
        callback.on_exception(trainer(), cast("Any", None), KeyboardInterrupt())
    text = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", console.getvalue())
    assert "10/100" in text
    assert re.search(r"\d prompts/s", text)
    assert console.getvalue().rstrip().endswith("\x1b[?25h")  # and shown again


def test_study_away_from_a_terminal_writes_its_progress_to_stderr(tmp_path: Any) -> None:
    with no_report():
        done = run_command("analyze.py", "--data.max_groups", 1, "--run_dir", tmp_path / "run")
    assert re.search(r"12 of 12 prompts, \d+\.\d prompts/s, 0 s left", done.err)
    assert "prompts/s" not in done.out
