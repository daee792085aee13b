"""The scripts as a user runs them, in this process (fast) or in one of their own (real)."""

from __future__ import annotations

import io
import itertools
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq

REPOSITORY = Path(__file__).parent.parent.parent

Row = dict[str, Any]
Table = list[dict[str, object]]


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


def end_of_wandb() -> None:
    """What W&B does where a process ends."""
    if wandb := sys.modules.get("wandb"):
        wandb.finish()
        wandb.teardown()


@contextmanager
def wandb_of_its_own() -> Iterator[None]:
    """No W&B service from before: it would write into the folder that was then the current one."""
    end_of_wandb()
    try:
        yield
    finally:
        end_of_wandb()


def command(script: str, *arguments: object, cwd: Path | None = None) -> Finished:
    """Run ``python SCRIPT ARGUMENTS`` in this process; what isn't SystemExit is raised."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    argv = [script, *map(str, arguments)]
    with (
        wandb_of_its_own(),
        chdir(cwd or REPOSITORY),
        mock.patch.object(sys, "argv", argv),
        # Lightning's own use of jsonargparse.
        mock.patch.dict(os.environ, JSONARGPARSE_DEPRECATION_WARNINGS="off"),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            runpy.run_path(str(REPOSITORY / script), run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Finished(code, out.getvalue(), err.getvalue())


def refused(done: Finished, *words: object) -> str:
    """The one line in which a command was refused."""
    assert done.code == 2, done
    (line,) = done.err.strip().splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in done.err + done.out
    for word in words:
        assert str(word) in line
    return line


def real_command(script: str, *arguments: object, timeout: float = 240, **env: str) -> Finished:
    """Run ``python SCRIPT ARGUMENTS`` in a process of its own, from the repository's root."""
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def killed_behind(packs: int) -> mock._patch[object]:
    """Within it studies are interrupted when so many packs are done."""
    from kn_lightning.module import MaskedLanguageModel

    step, numbers = MaskedLanguageModel.predict_step, itertools.count()

    def killed(*arguments: Any) -> object:
        if next(numbers) == packs:
            raise KeyboardInterrupt
        return step(*arguments)

    return mock.patch.object(MaskedLanguageModel, "predict_step", killed)


def no_report() -> mock._patch[object]:
    """Within it studies end without a report: drawing takes longer than a small study."""
    page = "report.html"
    return mock.patch("kn_lightning.report.write_report", lambda run_dir, language: run_dir / page)


def analyze(run_dir: Path, *arguments: object) -> Path:
    """A study without its report, in this process; it has to end well."""
    with no_report():
        done = command("analyze.py", "--run_dir", run_dir, *arguments)
    assert done.code == 0, done.err
    return run_dir


def table(run_dir: Path, name: str) -> Table:
    """Rows of one of a run's tables."""
    rows: Table = pq.read_table(run_dir / f"{name}.parquet").to_pylist()
    return rows


def by_key(rows: Table, *keys: str) -> dict[tuple[object, ...], Row]:
    """Rows by what identifies them."""
    found = {tuple(row[key] for key in keys): row for row in rows}
    assert len(found) == len(rows)
    return found


def write_jsonl(path: Path, *lines: dict[str, object]) -> Path:
    """A file of prompt groups."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
