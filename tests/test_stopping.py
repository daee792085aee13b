"""A signal ends a study behind the pack in hand, in one line; the same command goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from callbacks.commands import REPOSITORY, analyze, command, no_report, table, write_jsonl
from callbacks.processes import needs_proc

from kn_lightning.callbacks.refine import RefineCallback
from kn_lightning.errors import Stopped
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import TABLES
from kn_lightning.stopping import StopSignals, stopped_at_once

STUDY = ("--data.max_groups", 4, "--data.pack_tokens", 100, "--edit.control_seeds", 1)
"""Four packs of one concept each."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run in one go."""
    return analyze(tmp_path_factory.mktemp("undisturbed") / "run", *STUDY)


def at_pack(count: int, do: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """``do`` while the ``count``-th pack, from 0, is refined."""
    refine, calls = RefineCallback.on_predict_batch_end, iter(range(99))

    def refined(*arguments: Any) -> None:
        if next(calls) == count:
            do()
        refine(*arguments)

    monkeypatch.setattr(RefineCallback, "on_predict_batch_end", refined)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signal_ends_the_study_behind_the_pack_in_hand_and_it_goes_on(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    before = signal.getsignal(number)
    with monkeypatch.context() as patch, no_report():
        at_pack(1, lambda: os.kill(os.getpid(), number), patch)
        done = command("analyze.py", *STUDY, "--run_dir", run)
    assert done.code == 128 + number
    assert signal.getsignal(number) == before
    last = done.err.splitlines()[-1]
    assert number.name in last
    assert f"2 packs are in {run}; the same command goes on" in last
    assert "Traceback" not in done.err
    assert RunFolder(run).finished_packs() == {0, 1}
    analyze(run, *STUDY)
    assert {path.name for path in run.iterdir()} == {path.name for path in undisturbed.iterdir()}
    for name in (*TABLES, "skipped"):
        assert table(run, name) == table(undisturbed, name), name


def test_signal_to_another_rank_ends_this_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with no_report():
        at_pack(
            0, lambda: StopSignals(run / "stop", str(run))._note(signal.SIGUSR1, None), monkeypatch
        )
        done = command("analyze.py", *STUDY, "--run_dir", run)
    assert done.code == 128 + signal.SIGUSR1
    assert RunFolder(run).finished_packs() == {0}


def test_signal_in_the_last_pack_leaves_nothing_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_pack(3, lambda: os.kill(os.getpid(), signal.SIGTERM), monkeypatch)
    run = analyze(tmp_path / "run", *STUDY)
    assert RunFolder(run).is_complete
    assert not (run / "stop").exists()


def test_signal_on_a_full_disk_ends_this_rank_behind_its_pack(tmp_path: Path) -> None:
    signals = StopSignals(tmp_path / "gone" / "stop", "run")  # can't be written either
    assert signals.asked is None
    signals._note(signal.SIGTERM, None)
    assert signals.asked == signal.SIGTERM


def test_second_interrupt_ends_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)  # a job in the background ignores it
    signals = StopSignals(tmp_path / "stop", "run")
    signals.install()
    (tmp_path / "stop").write_text(str(int(signal.SIGINT)))  # another rank was told first
    try:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.asked == signal.SIGINT
        assert "again: at once" in capsys.readouterr().err
        with pytest.raises(Stopped, match="without the pack in hand") as stopped:
            os.kill(os.getpid(), signal.SIGINT)
        assert stopped.value.code == 130
    finally:
        signals.restore()
    assert signal.getsignal(signal.SIGINT) is before


def answers(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    caught = re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)
    assert caught
    return bool(int(caught[1], 16) >> (number - 1) & 1)


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_signal_before_a_training_ends_in_one_line(name: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "train.py", "--export.folder", str(tmp_path / "encoder")],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    number = signal.Signals[name]
    while not answers(process.pid, number):  # and then imports for seconds
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err == f"stopped at once by {name}; the same command goes on after what is finished\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_signal_before_the_first_pack_ends_in_one_line(name: str, tmp_path: Path) -> None:
    prompts = [f"the [MASK] is a small cat number {n}." for n in range(60_000)]
    path = write_jsonl(tmp_path / "large.jsonl", {"concept": "kitten", "prompts": prompts})
    process = subprocess.Popen(
        [sys.executable, "analyze.py", "--run_dir", str(tmp_path / "run")]
        + ["--data", "JsonlPrompts", "--data.path", str(path), "--data.tag_pos", "false"],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(3)  # imports, or reading
    number = signal.Signals[name]
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err == f"stopped at once by {name}; the same command goes on after what is finished\n"


STUCK = """
import datetime, sys
from torch.distributed import TCPStore
from kn_lightning import stopping

stopping._GRACE = 0.5
with stopping.stopped_at_once():
    print("waits", flush=True)
    TCPStore("127.0.0.1", 0, 2, True, datetime.timedelta(seconds=60))
"""


def test_signal_ends_what_waits_for_other_ranks() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped at once by SIGTERM" in err


def test_signals_do_again_what_they_did() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(Stopped, match="SIGUSR1") as stopped, stopped_at_once():
        signal.raise_signal(signal.SIGUSR1)
    assert stopped.value.code == 128 + signal.SIGUSR1
    assert signal.getsignal(signal.SIGUSR1) is before


@pytest.mark.slow
def test_signal_to_one_of_two_ranks_ends_both_and_one_goes_on(tmp_path: Path) -> None:
    run, n_packs = tmp_path / "run", 30  # long enough for the signal to come before the end
    longer = ("--data.max_groups", n_packs, *STUDY[2:])
    study = list(map(str, (*longer, "--run_dir", run)))
    ranks = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "analyze.py", *study, *ranks],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 120
    # Once the first pack is begun: until then a signal does what it always did.
    while not list(run.glob("parts/0*")):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "Traceback" not in err
    assert len(re.findall("stopped by SIGTERM behind the pack in hand", err)) == 1
    assert 1 <= len(RunFolder(run).finished_packs()) < n_packs
    analyze(run, *longer)  # on one rank
    undisturbed = analyze(tmp_path / "undisturbed", *longer)
    for name in (*TABLES, "skipped"):
        assert table(run, name) == table(undisturbed, name), name
