"""What a study says at its end."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from callbacks.commands import REPOSITORY, command, no_report, table

from kn_lightning.closing import found


def test_a_study_says_what_it_found_then_what_is_next_then_the_paths(tmp_path: Path) -> None:
    with no_report():
        done = command("analyze.py", "--run_dir", tmp_path / "run", "--data.max_groups", "4")
    assert done.code == 0, done.err
    said = done.out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["found", "next", "results", "report"]
    neurons, prompts = (table(tmp_path / "run", name) for name in ("neurons", "prompts"))
    having, studied = ({row["concept"] for row in rows} for rows in (neurons, prompts))
    assert said[0] == (
        f"found:   {len(neurons)} knowledge neurons of {len(having)} of {len(studied)} concepts,"
        f" by {len(prompts)} prompts"
    )
    assert "next:" not in found(tmp_path / "run", "bert-base-uncased")
    assert "\x1b" not in done.out + done.err  # no colours where the output is no terminal


def test_what_is_next_can_be_given_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with no_report():
        command("analyze.py", "--run_dir", run, "--data.max_groups", "2")
    monkeypatch.chdir(tmp_path)
    for script in (REPOSITORY / "analyze.py", Path("analyze.py")):
        monkeypatch.setattr(sys, "argv", [str(script)])
        _, said = found(run, "embedded").splitlines()
        words = shlex.split(said.partition("Hub: ")[2])
        assert words[:3] == ["python", str(script), "--config"]
        assert (REPOSITORY / words[3]).is_file()
