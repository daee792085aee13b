"""``PYTHONPATH=tests python -m bad_input.table`` writes docs/bad_input.md: cases and messages."""

from __future__ import annotations

import tempfile
from itertools import groupby
from pathlib import Path

from callbacks.commands import REPOSITORY, Finished, analyze, table

from kn_lightning.printable import printable

from .case import Case, run
from .fuzz_table import kept_section
from .material import ODD, write_material, write_odd
from .newcomers import EVERY

PAGE = REPOSITORY / "docs" / "bad_input.md"

_HEAD = """# Bad input

What is wrong with a command, its flags or its files is said in one line on standard error that
begins with `error: ` and names the value, its place and what to do. The exit code is 2, and nothing
is written. `--debug` shows the traceback before that line. Weights are read from safetensors alone,
code that comes with a model is never run, and missing weights are never made up.

These are the {count} commands that the tests hold to this, with their messages
(`tests/bad_input/`; `PYTHONPATH=tests python -m bad_input.table` writes this page anew).
"""
_ODD = """
## Studied, or left out with the reason

Not every odd thing is a mistake. A file of these groups, which begins with a byte order mark, has
empty lines and ends its lines with CRLF, is studied; what can't be is a row of `skipped.parquet`.

| what | becomes |
| --- | --- |
"""


def message(done: Finished, folder: Path) -> str:
    """What a command said, without the name of the folder that it ran in."""
    return done.err.removeprefix("error: ").strip().replace(f"{folder}/", "")


def page(said: dict[Case, str], outcomes: dict[str, str]) -> str:
    """The whole page."""
    lines = [_HEAD.format(count=len(EVERY))]
    for section, cases in groupby(EVERY, lambda case: case.section):
        lines.append(f"\n## {section}\n\n| what | command | message |\n| --- | --- | --- |\n")
        for case in cases:
            cells = (case.what, _code(printable(" ".join(case.command))), _code(said[case]))
            lines.append(f"| {' | '.join(cells)} |\n")
    rows = [f"| {what} | {outcome} |\n" for what, outcome in outcomes.items()]
    return "".join([*lines, _ODD, *rows, kept_section()])


def _code(text: str) -> str:
    # Two backticks around what has one itself; a bar would end the cell.
    marks, space = ("``", " ") if "`" in text else ("`", "")
    return f"{marks}{space}{text}{space}{marks}".replace("|", "\\|")


def studied() -> dict[str, str]:
    """What becomes of each odd group: ``studied``, or why it is left out."""
    with tempfile.TemporaryDirectory() as place:
        data = write_odd(Path(place) / "odd.jsonl")
        run_dir = analyze(Path(place) / "run", "--data", "JsonlPrompts", "--data.path", data)
        texts = [str(row["prompt"]) for row in table(run_dir, "prompts")]
        reasons = {
            (row["concept"], row["prompt"]): row["reason"] for row in table(run_dir, "skipped")
        }
    outcomes = {}
    for what, (concept, text) in ODD:
        reason = reasons.get((concept, text)) or reasons.get((concept, None))
        assert texts.count(text) == (0 if reason else 1), what
        outcomes[what] = "studied" if reason is None else f"left out: {reason}"
    return outcomes


if __name__ == "__main__":
    from kn_lightning.data import part_of_speech

    # Neither downloaded nor looked for, as in the tests.
    part_of_speech.fetch_tagger = part_of_speech.load_tagger = lambda: None
    with tempfile.TemporaryDirectory() as name:
        material = Path(name)
        write_material(material)
        found = {case: message(run(case, material), material) for case in EVERY}
        PAGE.write_text(page(found, studied()), encoding="utf-8")
