"""What fails outside ends a study in one line, and the same command then ends like undisturbed."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import yaml
from callbacks.commands import REPOSITORY, Finished, analyze, command, no_report, table
from callbacks.processes import children, needs_proc
from lightning.pytorch.loggers import TensorBoardLogger
from test_stopping import STUDY, at_pack

from kn_lightning import files, module
from kn_lightning.data.sources import EmbeddedPrompts
from kn_lightning.run_folder import RunFolder
from kn_lightning.run_names import RUN_ID
from kn_lightning.schema import TABLES


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run in one go."""
    return analyze(tmp_path_factory.mktemp("undisturbed") / "run", *STUDY)


def only_line(done: Finished, code: int) -> str:
    """What a command says of its end."""
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    (line,) = (line for line in done.err.splitlines() if line.startswith("error: "))
    return line


def test_disk_that_takes_no_more_ends_in_one_line_and_the_study_goes_on(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, before = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch, no_report():
        # A real refusal by the system, half way through a file.
        limit = (1000, before[1])
        at_pack(2, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit), patch)
        try:
            done = command("analyze.py", *STUDY, "--run_dir", run)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    line = only_line(done, 1)
    assert "File too large" in line
    assert "the same command goes on" in line
    assert RunFolder(run).finished_packs() == {0, 1}
    analyze(run, *STUDY)
    for name in (*TABLES, "skipped"):
        assert table(run, name) == table(undisturbed, name), name


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_folder_that_cannot_be_written_to_is_said_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(source: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code), str(target))

    run = tmp_path / "run"
    monkeypatch.setattr(files.os, "replace", refused)
    line = only_line(command("analyze.py", *STUDY, "--run_dir", run), 1)
    assert os.strerror(code) in line
    assert str(run / "environment.json") in line


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB."), MemoryError("2 GiB")]
)
def test_memory_that_never_suffices_is_said_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def attribute_encoded(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "attribute_encoded", attribute_encoded)
    line = only_line(command("analyze.py", *STUDY, "--run_dir", tmp_path / "run"), 1)
    assert "out of memory" in line
    assert "--trainer.precision bf16-mixed" in line


def test_attribution_without_a_value_names_its_prompt_and_writes_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., Any] = module.attribute_encoded

    def overflowing(*arguments: Any) -> Any:
        found = original(*arguments)
        residual = found.residual.clone()
        residual[3, 1] = torch.nan
        return replace(found, residual=residual)

    monkeypatch.setattr(module, "attribute_encoded", overflowing)
    run = tmp_path / "run"
    line = only_line(command("analyze.py", *STUDY, "--run_dir", run), 2)
    assert "/3 " in line
    assert "NaN or infinite under trainer.precision 32-true" in line
    assert RunFolder(run).finished_packs() == frozenset()


@needs_proc
def test_there_is_no_worker_process_to_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, begun = set(children(os.getpid())), []
    at_pack(2, lambda: begun.append(set(children(os.getpid())) - before), monkeypatch)
    analyze(tmp_path / "run", *STUDY)
    assert begun == [set()]
    assert EmbeddedPrompts().loader([], None, shuffle=False).num_workers == 0
    asked = ("--data.num_workers", 2, "--run_dir", tmp_path / "other")
    assert "num_workers" in only_line(command("analyze.py", *STUDY, *asked), 2)


LOSING_WANDB = """
import os, runpy, signal, sys

from callbacks.commands import no_report
from callbacks.processes import children
from kn_lightning.callbacks.refine import RefineCallback

refine = RefineCallback.on_predict_batch_end


def refined(*arguments):
    for service in children(os.getpid()):  # once: then there is none
        os.kill(service, signal.SIGKILL)
        os.waitpid(service, 0)
    refine(*arguments)


RefineCallback.on_predict_batch_end = refined
sys.argv = sys.argv[1:]
with no_report():
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@needs_proc
@pytest.mark.slow
def test_wandb_that_is_killed_costs_a_warning_and_the_same_command_tracks_the_results(
    undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    flags = ("--trainer.logger", "WandbLogger", "--trainer.logger.offline", "true")
    arguments = (*STUDY, *flags, "--track.interval", 0, "--run_dir", run)
    done = subprocess.run(
        [sys.executable, "-c", LOSING_WANDB, *map(str, (REPOSITORY / "analyze.py", *arguments))],
        cwd=tmp_path,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",  # another number of threads may round otherwise
            "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr  # nor where the process ends
    (line,) = (line for line in done.stderr.splitlines() if "WandbLogger is lost" in line)
    assert f"results are in {run}" in line
    for name in (*TABLES, "skipped"):
        assert table(run, name) == table(undisturbed, name), name
    again = command("analyze.py", *arguments, cwd=tmp_path)
    assert again.code == 0, again.err
    names = [path.name.rpartition("-")[2] for path in tmp_path.glob("wandb/offline-run-*")]
    assert names == [(run / RUN_ID).read_text()] * 2


def test_logger_that_fails_is_told_no_more_and_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no room")

    monkeypatch.setattr(TensorBoardLogger, "log_metrics", fail)
    config = {
        "trainer": {
            "logger": [
                {"class_path": name, "init_args": {"save_dir": str(tmp_path), "name": name}}
                for name in ("TensorBoardLogger", "CSVLogger")
            ]
        }
    }
    (tmp_path / "loggers.yaml").write_text(yaml.safe_dump(config))
    flags = ("--config", tmp_path / "loggers.yaml", "--track.interval", 0)
    with (
        mock.patch("kn_lightning.tracking.read_results"),
        mock.patch("kn_lightning.tracking._track"),
        pytest.warns(UserWarning, match="TensorBoardLogger is lost .no room.") as said,
    ):
        analyze(tmp_path / "run", *STUDY, *flags)
    assert len(said) == 1
    rows = (tmp_path / "CSVLogger" / "version_0" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + 4  # a head, and a row a pack


def test_overwriting_must_be_asked_for_and_leaves_other_files(tmp_path: Path) -> None:
    run = analyze(tmp_path / "run", "--data.max_groups", 1, "--edit.control_seeds", 2)
    (run / "notes.txt").write_text("mine")
    new = ("--data.max_groups", 1, "--edit.control_seeds", 1, "--run_dir", run)
    with no_report():
        assert "--overwrite true" in only_line(command("analyze.py", *new), 2)
        assert len({row["prompt_id"] for row in table(run, "prompts")}) == 12
        kept = table(run, "edits")
        done = command("analyze.py", *new, "--overwrite", "true")
    # A folder with a file of the user's is no longer a free one.
    assert "notes.txt" in only_line(done, 2)
    assert table(run, "edits") == kept
    (run / "notes.txt").unlink()
    analyze(run, *new[:-2], "--overwrite", "true")
    assert len(table(run, "edits")) < len(kept)
