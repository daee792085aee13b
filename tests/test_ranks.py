"""Bad input on several ranks is one line, by rank 0, whichever of them finds it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from callbacks.commands import REPOSITORY, command, real_command, write_jsonl
from lightning.pytorch.utilities import rank_zero_only

from kn_lightning import command as script
from kn_lightning import ranks
from kn_lightning.errors import InputError
from kn_lightning.ranks import check_variables, on_all_ranks

RANKS = ("--trainer.devices", 2, "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu")


def refusing() -> None:
    raise InputError("data.path a: empty")


def told(rank: int, *said: str | None) -> mock._patch[object]:
    """Within it this is that rank, and ranks have said so."""
    return mock.patch.object(ranks, "_gathered", return_value=(rank, list(said)))


def test_what_goes_well_on_all_ranks_gives_its_result() -> None:
    assert on_all_ranks(lambda: 3) == 3
    with told(1, None, None):
        assert on_all_ranks(lambda: 3) == 3


def test_rank_0_says_what_is_wrong_and_the_others_end_without_a_word() -> None:
    with pytest.raises(InputError, match=r"^data\.path a: empty$"):
        on_all_ranks(refusing)
    with told(0, "data.path a: empty", None), pytest.raises(InputError, match=r"^data\.path a"):
        on_all_ranks(refusing)
    with told(1, "data.path a: empty", None), pytest.raises(SystemExit) as end:
        on_all_ranks(lambda: 3)
    assert end.value.code == 2


def test_rank_0_says_what_another_rank_alone_finds() -> None:
    with told(0, None, "no such file"), pytest.raises(InputError, match="^rank 1: no such file$"):
        on_all_ranks(lambda: 3)
    with told(1, None, "no such file"), pytest.raises(SystemExit) as end:
        on_all_ranks(refusing)
    assert end.value.code == 2


@pytest.mark.parametrize(("rank", "waits"), [(0, False), (1, True)])
def test_before_ranks_know_of_one_another_others_leave_the_word_to_rank_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: int, waits: bool
) -> None:
    def sleep(seconds: float) -> None:
        assert capsys.readouterr().err == ""
        waited.append(seconds)

    waited: list[float] = []
    monkeypatch.setattr(ranks.time, "sleep", sleep)
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    monkeypatch.setattr(sys, "argv", ["analyze.py"])
    with pytest.raises(SystemExit) as end:
        script.run_command(refusing)
    assert end.value.code == 2
    assert [seconds >= 5 for seconds in waited] == [True] * waits
    assert capsys.readouterr().err == "error: data.path a: empty\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["analyze.py", "train.py"])
def test_data_that_two_ranks_refuse_are_one_line(tmp_path: Path, name: str) -> None:
    path, out = tmp_path / "empty.jsonl", tmp_path / "out"
    path.write_text("")
    data = ("--data", "JsonlPrompts", "--data.path", path)
    done = real_command(
        name, *RANKS, *data, "--run_dir" if name == "analyze.py" else "--export.folder", out
    )
    assert done.code == 2
    (line,) = (line for line in done.err.splitlines() if "error" in line)
    assert line == f"error: JsonlPrompts {path}: no prompt group; give a source that has one"
    assert "Traceback" not in done.err
    assert not out.exists()


@pytest.mark.slow
def test_download_that_fails_on_two_ranks_is_one_line(tmp_path: Path) -> None:
    url, run = "http://127.0.0.1:9/x.zip", tmp_path / "run"
    data = ("--data", "LamaPrompts", "--data.url", url)
    cache = {"XDG_CACHE_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    done = real_command("analyze.py", *RANKS, *data, "--run_dir", run, **cache)
    assert done.code == 2
    (line,) = (line for line in done.err.splitlines() if "error" in line)
    assert line.startswith(f"error: data.url {url}: ConnectionError; try again")
    assert "another rank" not in done.err
    assert not run.exists()


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["data", "encoder"])
def test_under_torchrun_all_ranks_end_as_of_bad_input(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    flags = {
        "data": ["--data", "JsonlPrompts", "--data.path", str(path)],
        "encoder": ["--model.encoder", "./none/encoder"],
    }[wrong]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, "analyze.py", *map(str, RANKS), *flags]
        + ["--run_dir", str(tmp_path / "run")],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, done.stderr
    assert {"data": str(path), "encoder": "./none/encoder"}[wrong] in said[0]
    assert "exitcode  : 2 " in done.stderr
    assert "exitcode  : 1 " not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_nodes_with_other_data_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    """By two nodes of torchrun, each with a file of its own under the same relative path."""
    nodes = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for rank, verb in enumerate(("is", "eats")):
        (tmp_path / verb).mkdir()
        prompts = [f"the [MASK] {verb} {what}." for what in ("small", "fish", "a lot", "there")]
        line = {"concept": "cat", "prompts": prompts, "pos": "noun"}
        write_jsonl(tmp_path / verb / "data.jsonl", line)
        launcher = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
        launcher += ["--node-rank", str(rank), "--master-addr", "127.0.0.1"]
        flags = ["--data", "JsonlPrompts", "--data.path", "data.jsonl", "--run_dir", "../run"]
        flags += ["--trainer.accelerator", "cpu", "--trainer.num_nodes", "2"]
        flags += ["--trainer.devices", "1", "--trainer.strategy", "ddp"]
        script = str(REPOSITORY / "analyze.py")
        nodes.append(
            subprocess.Popen(
                [sys.executable, *launcher, "--master-port", str(port), script, *flags],
                cwd=tmp_path / verb,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    said = "".join(node.communicate(timeout=240)[1] for node in nodes)
    (error,) = [one for one in said.splitlines() if one.startswith("error: ")]
    assert "rank 1" in error
    assert "another study than rank 0: data.sha256" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "value"), [("LOCAL_RANK", "x"), ("RANK", ""), ("RANK", "1.0")])
def test_variable_of_a_launcher_that_is_no_number_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"variable {name} of the environment is '{value}'"):
        check_variables()
    done = command("analyze.py", "--help")
    assert (done.code, done.err.count("\n")) == (2, 1)
