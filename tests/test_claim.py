"""One command at a time writes to a run folder; one that has died keeps nobody out."""

from __future__ import annotations

import errno
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from callbacks.commands import analyze, command, no_report
from test_run_folder import contents
from test_stopping import STUDY

from kn_lightning.claim import HOLDER, LOCK, RunLock, check_same
from kn_lightning.errors import InputError
from kn_lightning.run_folder import RunFolder

HOLDING = """
import sys
from pathlib import Path
from kn_lightning.claim import RunLock

lock = RunLock(Path(sys.argv[1]))
lock.acquire("run")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two of its four packs."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    with no_report():
        done = command("analyze.py", *STUDY, "--run_dir", run, "--trainer.limit_predict_batches", 2)
    assert done.code == 2
    assert not {LOCK, HOLDER} & {path.name for path in run.iterdir()}
    return run


@pytest.fixture
def holder(stopped: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock of the stopped run."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(stopped)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("flags", [(), ("--overwrite", "true"), ("--edit.control_seeds", 2)])
def test_second_command_is_refused_and_leaves_what_the_first_one_writes(
    stopped: Path, holder: subprocess.Popen[str], flags: tuple[object, ...]
) -> None:
    (stopped / "parts" / f"000002.{holder.pid}.tmp").mkdir(exist_ok=True)
    before = contents(stopped)
    with no_report():
        done = command("analyze.py", *STUDY, *flags, "--run_dir", stopped)
    assert done.code == 2
    (line,) = done.err.splitlines()
    said = f"run_dir {stopped} is being written by process {holder.pid} on {platform.node()};"
    other = "holds another study" if "--edit.control_seeds" in flags else said
    assert other in line
    assert "--run_dir" in line
    assert contents(stopped) == before


def test_command_that_was_killed_keeps_nobody_out(
    stopped: Path, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (stopped / LOCK).exists()
    analyze(stopped, *STUDY)
    assert RunFolder(stopped).is_complete
    assert not [path for path in stopped.iterdir() if path.name.startswith(".")]


def test_run_is_its_commands_until_its_report_is_drawn_and_tracked(tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = []

    def second_command(*_: object) -> None:
        holding = [sys.executable, "-c", HOLDING, str(run)]
        done = subprocess.run(holding, capture_output=True, text=True, input="", check=False)
        said.append(f"{done.stdout}{done.stderr}")

    with (
        mock.patch("kn_lightning.report.write_report", second_command),
        mock.patch("kn_lightning.tracking.track_results", second_command),
    ):
        done = command("analyze.py", "--data.max_groups", 1, "--run_dir", run)
    assert done.code == 0, done.err
    assert len(said) == 2
    assert all(f"is being written by process {os.getpid()} on" in text for text in said), said
    second_command()
    assert said[2] == "held\n"


def test_settings_that_differ_are_named_with_their_values_and_before_hashes() -> None:
    known = {"data.pos_sha256": "aa", "edit.seed": 0, "model.nodes": 3}
    now = {"data.pos_sha256": "bb", "edit.seed": 1, "model.nodes": 3}
    with pytest.raises(InputError, match=r"in edit.seed \(0 there, 1 now\), data.pos_sha256\. "):
        check_same("run", known, now)
    with pytest.raises(InputError, match=r"in data.pos_sha256 \('aa' there, 'bb' now\)\. Give"):
        check_same("run", known | {"edit.seed": 1}, now)


def test_lock_is_taken_again_by_its_process_and_leaves_no_trace(tmp_path: Path) -> None:
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    first.release()  # which it doesn't have
    first.acquire("run")
    second.acquire("run")
    second.release()
    first.release()
    assert not list(tmp_path.iterdir())


def test_lock_of_someone_who_is_not_named_is_refused_too(
    stopped: Path, holder: subprocess.Popen[str]
) -> None:
    (stopped / HOLDER).unlink()
    with pytest.raises(InputError, match="run_dir mine is being written by another process; wait"):
        RunLock(stopped).acquire("mine")


def test_disk_without_locks_is_a_warning(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    with (
        mock.patch("fcntl.flock", side_effect=OSError(errno.ENOLCK, "No locks available")),
        pytest.warns(UserWarning, match="run_dir mine can't be locked .*no second command"),
    ):
        lock.acquire("mine")
    lock.release()
    with (
        mock.patch("fcntl.flock", side_effect=OSError(errno.EIO, "broken")),
        pytest.raises(OSError, match="broken"),
    ):
        lock.acquire("mine")
