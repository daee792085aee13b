"""Text of others is shown, and what would steer a terminal in it is spelled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from callbacks.commands import REPOSITORY, command

from kn_lightning.command import run_command
from kn_lightning.errors import InputError
from kn_lightning.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b2J\x7f\x00", "\\x9b2J\\x7f\\x00"),
        ("over\rwritten", "over\\x0dwritten"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("one\u2028line\ufeff", "one\\u2028line\\ufeff"),
        ("half \ud83d", "half \\ud83d"),
        ("two\nlines\tand قال 👩\u200d🔬", "two\nlines\tand قال 👩\u200d🔬"),
    ],
)
def test_controls_are_spelled_and_all_else_stays(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


EVIL = "\x1b]0;title\x07\u202e"


@pytest.mark.parametrize("flag", ["--data.path", "--run_dir", "--model.encoder", "--refine.rule"])
def test_no_message_of_a_command_steers_the_terminal(flag: str, tmp_path: Path) -> None:
    data = ("--data", "JsonlPrompts", "--data.path", tmp_path / "none.jsonl")
    done = command("analyze.py", *data, flag, f"{tmp_path}/{EVIL}", cwd=tmp_path)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert printable(done.err) == done.err
    assert not list(tmp_path.iterdir())


def test_names_of_a_files_columns_reach_the_terminal_spelled(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{EVIL},b\n1,2\n", encoding="utf-8")
    flags = ("--data", "CsvPrompts", "--data.path", tmp_path / "a.csv")
    done = command("analyze.py", *flags, cwd=tmp_path)
    assert "\\x1b]0;title\\x07\\u202e" in done.err
    assert printable(done.err) == done.err


def test_line_of_any_length_keeps_its_place_and_its_remedy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse() -> None:
        raise InputError(f"data.path {'x' * 10**6}: give another")

    with pytest.raises(SystemExit):
        run_command(refuse)
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) < 1100
    assert line.startswith("error: data.path xxx")
    assert line.endswith("x: give another")


PRINTED = r"""
import sys
from kn_lightning.command import run_command
run_command(lambda: (sys.stdout.write("é 日本\n"), sys.stderr.write("日\n")))
"""


@pytest.mark.parametrize("encoding", ["latin-1", "latin-1:strict", "utf-8"])
def test_letters_that_an_output_does_not_have_are_spelled(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTED],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    plain = encoding.partition(":")[0]
    shown = ("é 日本\n", "日\n") if plain == "utf-8" else ("é \\u65e5\\u672c\n", "\\u65e5\n")
    assert (done.stdout.decode(plain), done.stderr.decode(plain)) == shown
