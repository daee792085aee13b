"""Commands and flags within sentences and tables are those that the scripts have."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from callbacks.commands import REPOSITORY, command

from kn_lightning.data import sources as sources
from kn_lightning.data import text_lines as text_lines
from kn_lightning.data.modules import MaskedSentences
from kn_lightning.flags import flags_of

from .parsers import commands, parser
from .test_code_blocks import FENCE

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
FLAG = re.compile(r"(?<![\w-])--([A-Za-z][\w.-]*)")
REFUSED = re.compile(r"^\|.*\| `(?:analyze|train)\.py .*$", re.MULTILINE)
"""Rows of bad_input.md: what stands there is wrong on purpose, and tests hold it to be refused."""
EXAMPLE = {
    "python analyze.py report": "RUN_DIR",
    "python analyze.py neurons": "RUN_DIR FILE",
    "python analyze.py edit": "RUN_DIR FOLDER --concepts kitten --weights erase_zero",
    "python analyze.py formation": "FOLDER --encoders A B",
    "python analyze.py synonyms": "RUN_DIR",
    "python analyze.py symmetry": "RUN_A RUN_B",
}
"""Commands that are named without what they need, and that."""
OTHERS = {
    "debug": "run_command takes it away before any parser",
    "help": "argparse has it",
    "trainer.logger.offline": "WandbLogger's; test_commands.py runs it",
    "check": "ruff's",
    "node-rank": "torchrun's",
    "ntasks-per-node": "srun's",
    "kill-on-bad-exit": "srun's",
}
"""Flags that no parser lists, and why."""
PACKAGES = {
    "pip-audit": "looks at the constraints, and is none of them",
    "s3fs": "fsspec asks for it by this name",
}
"""Packages of pip's commands that pyproject.toml doesn't name, and why."""


def inline(page: Path) -> list[str]:
    """The inline code of a page, outside of its blocks."""
    text = REFUSED.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
    return [" ".join(code.split()) for code in INLINE.findall(text)]


def all_inline(start: str) -> list[str]:
    """Inline code of all pages that begins so, each once."""
    return sorted({code for page in PAGES for code in inline(page) if re.match(start, code)})


def refusal(line: str) -> str:
    """What is said against a command by the parser that would read it; nothing if it is taken.

    What is written for a value (FOLDER, RUN_DIR, FILE, A) is a name like any other.
    """
    words = shlex.split(f"{line} {EXAMPLE.get(line, '')}")
    _, script, *given = [word for word in words if word not in ("…", "...")]
    name = " ".join([script, *given[:1]])
    if name in commands():
        try:
            parser(name).parse_args(given[1:])
        except Exception as error:  # jsonargparse's and argparse's
            return str(error)
        return ""
    shown = [] if "--help" in given else ["--print_config"]
    return command(script, *given, *shown).err


def known() -> set[str]:
    """Flags of all commands, with those of the classes of ``--data``; and their sections."""
    flags = set(OTHERS)
    for name in commands():
        flags |= flags_of(parser(name), {"data": MaskedSentences}).kinds.keys()
    return flags | {flag.rpartition(".")[0] for flag in flags}


@pytest.mark.parametrize("line", all_inline(r"python (analyze|train)\.py\b"))
def test_each_command_in_a_sentence_or_table_is_parsed(line: str) -> None:
    assert refusal(line) == ""


@pytest.mark.parametrize("line", all_inline(r"pip\b"))
def test_each_pip_command_installs_what_the_project_names(line: str) -> None:
    declared = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    program, verb, *packages = line.split(" && ")[0].split()
    assert (program, verb) == ("pip", "install")
    assert all(f'"{name}' in declared or name in PACKAGES for name in packages)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_flag_in_a_sentence_or_table_is_one_of_a_command(page: Path) -> None:
    flags = {name.rstrip(".") for code in inline(page) for name in FLAG.findall(code)}
    assert flags - known() == set()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("python analyze.py --refine.walue 10", "refine.values"),
        ("python analyze.py reports RUN_DIR", "no command"),
        ("python analyze.py synonyms RUN_DIR --nonsense 1", "nonsense"),
        ("python analyze.py symmetry RUN_A", "run_b"),
    ],
)
def test_wrong_commands_are_found(line: str, said: str) -> None:
    assert said in refusal(line)


def test_misspelt_flags_and_commands_over_two_lines_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("| a | `--refine.value 10` |\n`python\nanalyze.py --x`\n```bash\n`--y`\n```\n")
    assert inline(page) == ["--refine.value 10", "python analyze.py --x"]
    assert {"refine.values", "data.mask", "formation.every", "encoders"} <= known()
    assert {"refine.value", "x", "gpus"}.isdisjoint(known())
