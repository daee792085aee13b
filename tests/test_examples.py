"""Examples in the help are commands that work, and each help has them."""

from __future__ import annotations

import re
import runpy
import shlex

import pytest
from callbacks.commands import REPOSITORY, command

from kn_lightning.examples import _LINES, COMMANDS


@pytest.mark.parametrize("name", _LINES)
def test_help_ends_with_its_examples_each_on_a_line(name: str) -> None:
    script, *rest = name.split()
    done = command(script, *rest, "--help")
    assert done.code == 0, done.err
    assert done.out.rstrip().endswith("\n".join(f"  {line}" for line in _LINES[name]))


@pytest.mark.parametrize(
    "line", [line for name in ("analyze.py", "train.py") for line in _LINES[name]]
)
def test_examples_of_scripts_are_parsed(line: str) -> None:
    program, script, *arguments = shlex.split(line)
    assert program == "python"
    assert command(script, *arguments, "--print_config").code == 0


def test_help_of_a_study_names_all_commands() -> None:
    assert set(COMMANDS) == set(runpy.run_path(str(REPOSITORY / "analyze.py"))["COMMANDS"])
    said = command("analyze.py", "--help").out
    for name, (needs, gives) in COMMANDS.items():
        assert re.search(rf"\n  {name} {re.escape(needs)} +{re.escape(gives)}\n", said)


def test_help_of_neurons_has_its_usage_and_an_example() -> None:
    done = command("analyze.py", "neurons", "--help")
    assert (done.code, done.err) == (0, "")
    assert "analyze.py neurons" in done.out
    assert done.out.rstrip().endswith("python analyze.py neurons runs/doses neurons.json")
