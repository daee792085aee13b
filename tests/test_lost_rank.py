"""A rank that dies ends the whole command, which says how to go on; and the study does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from callbacks.commands import REPOSITORY, analyze, real_command, table
from callbacks.processes import children, needs_proc

from kn_lightning import command as script
from kn_lightning.lost_rank import AGAIN
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import TABLES

N_PACKS = 20
STUDY = (
    "--data.max_groups", N_PACKS, "--data.pack_tokens", 100, "--data.tag_pos", "false",
    "--model.rule", "gauss_legendre", "--model.nodes", 3, "--edit.control_seeds", 1,
)  # fmt: skip
"""Packs of one concept each, enough for a rank to die in the midst of them."""
RANKS = ("--trainer.devices", 2, "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu")
SECONDS = 120
"""In which a command with a dead rank has to end."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run in one go by one process."""
    return analyze(tmp_path_factory.mktemp("undisturbed") / "run", *STUDY)


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A command that is left running when its run folder, the last argument, has a first pack."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + SECONDS
    while not list(Path(str(arguments[-1])).glob("parts/0*[0-9]")):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)
    try:
        yield process
    finally:
        if process.poll() is None:
            for pid in (*children(process.pid), process.pid):
                os.kill(pid, signal.SIGKILL)


@needs_proc
@pytest.mark.slow
def test_rank_whose_launcher_is_killed_before_they_connect_ends(tmp_path: Path) -> None:
    command = [sys.executable, "analyze.py", "--data.max_groups", "4", "--run_dir", tmp_path / "r"]
    command += ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    launcher = subprocess.Popen(
        list(map(str, [*command, "--trainer.accelerator", "cpu"])),
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + SECONDS
    while not children(launcher.pid):
        assert time.monotonic() < end
        time.sleep(0.02)
    launcher.kill()
    _, err = launcher.communicate(timeout=60)  # until no rank holds the pipe
    assert "what began this rank has died; give the same command again" in err


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_rank_that_is_killed_ends_the_command_and_the_study_goes_on(
    undisturbed: Path, tmp_path: Path, rank: int
) -> None:
    run = tmp_path / "run"
    arguments = ("analyze.py", *STUDY, *RANKS, "--run_dir", run)
    with started(*arguments) as process:
        (other,) = children(process.pid)
        os.kill((process.pid, other)[rank], signal.SIGKILL)
        # To the end of what both ranks say: of a rank that hangs there is none.
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert "Traceback" not in err
    assert AGAIN in err.splitlines()[-1]
    # What rank 0 leaves, rank 1 takes, but for what it had in hand.
    assert 1 <= len(RunFolder(run).finished_packs()) <= N_PACKS - rank
    assert len(list(run.glob("claims-*"))) == 1
    if rank == 1:
        done = real_command(*arguments, timeout=SECONDS)
        assert done.code == 0, done.err
    else:
        analyze(run, *STUDY)  # as well by one process
    for name in (*TABLES, "skipped"):
        assert table(run, name) == table(undisturbed, name), name
    assert not list(run.glob("claims-*"))


@needs_proc
@pytest.mark.slow
def test_rank_that_takes_longer_than_the_time_limit_of_collectives_is_waited_for(
    undisturbed: Path, tmp_path: Path
) -> None:
    run, limit = tmp_path / "run", 25
    ranks = ("--trainer.devices", 2, "--trainer.accelerator", "cpu")
    ranks += ("--trainer.strategy", "DDPStrategy", "--trainer.strategy.timeout", f"0:00:{limit}")
    with started("analyze.py", *STUDY, *ranks, "--run_dir", run) as process:
        (other,) = children(process.pid)
        os.kill(other, signal.SIGSTOP)  # in the midst of a pack, which nobody else may take
        time.sleep(limit + 8)
        assert process.poll() is None
        os.kill(other, signal.SIGCONT)
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    for name in TABLES:
        assert table(run, name) == table(undisturbed, name), name


@pytest.mark.slow
def test_what_rank_0_refuses_is_said_once_and_as_bad_input(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("no run")
    done = real_command("analyze.py", *STUDY, *RANKS, "--run_dir", tmp_path / "run")
    assert done.code == 2
    said = [line for line in done.err.splitlines() if "error" in line]
    assert len(said) == 1, done.err
    assert "is not empty and holds no run" in said[0]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[/build/gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:80"),
        torch.distributed.DistBackendError("NCCL error: remote process exited"),
    ],
)
def test_what_gloo_and_nccl_say_of_a_lost_rank_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: RuntimeError
) -> None:
    def lost() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["analyze.py"])
    with pytest.raises(SystemExit) as ended:
        script.run_command(lost)
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: another rank has died, or can't be reached ({error}); {AGAIN}"


def test_another_error_of_the_program_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken() -> None:
        raise RuntimeError("shapes don't fit")

    monkeypatch.setattr(sys, "argv", ["analyze.py"])
    with pytest.raises(RuntimeError, match="shapes don't fit"):
        script.run_command(mistaken)
