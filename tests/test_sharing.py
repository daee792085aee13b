"""``analyze.py synonyms`` and ``analyze.py symmetry``: what they print, write and refuse."""

from __future__ import annotations

import copy
import io
import re
from pathlib import Path
from typing import Any
from unittest import mock

import fsspec
import pandas as pd
import pytest
from callbacks.commands import REPOSITORY, Finished, command
from report.runs import ENVIRONMENT, Rows, plain, planted_tables, prompt_row, write_run

PAIRS = "".join(f"w{i}\tv{i}\n" for i in range(12)) + "car\tauto\nw0\tcar\n"


def write(folder: Path, prompts: Rows, seed_of: Any, **encoder: Any) -> Path:
    """A run in which prompts, and the concepts they ask for, have neurons by ``seed_of`` them."""
    coarse = [
        {"prompt_id": row["prompt_id"], "layer": layer, "neuron": seed_of(row), "score": 0.5}
        for row in prompts
        for layer in (0, 1)
    ]
    neurons = [
        {"concept": row["concept"], "layer": 0, "neuron": seed_of(row), "share": 1.0, "score": 0.5}
        for row in prompts
    ]
    environment = copy.deepcopy(ENVIRONMENT)
    environment["encoder"] |= encoder
    environment["identity"] = {}
    tables = planted_tables() | {"prompts": prompts, "coarse": coarse, "neurons": neurons}
    return write_run(folder, tables, environment)


def number(row: dict[str, Any]) -> int:
    """Of a concept such as w12."""
    return int(row["concept"][1:])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of runs ``subjects`` (w) and ``objects`` (v) of the same sentences, and ``words``."""
    folder = tmp_path_factory.mktemp("runs")
    numbers = range(12)
    subjects = [prompt_row(f"w{i}/0", f"w{i}", prompt=f"[MASK] is v{i}.") for i in numbers]
    objects = [prompt_row(f"v{i}/0", f"v{i}", prompt=f"w{i} is [MASK].") for i in numbers]
    write(folder / "subjects", subjects, number)
    write(folder / "objects", objects, number)
    write(folder / "other", objects, number, weights_sha256="ff" * 32)
    write(folder / "alike", [*subjects, *objects], number)
    write(folder / "unlike", [*subjects, *objects], lambda row: int(row["concept"][0] == "v"))
    (folder / "pairs.tsv").write_text(PAIRS)
    return folder


def lines(done: Finished) -> list[list[str]]:
    """The numbers of each row of the table that was printed."""
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out  # no colours in a pipe
    rows = [plain(line).split("  ") for line in done.out.splitlines()]
    return [[cell.strip() for cell in row if cell.strip()] for row in rows if len(row) > 3]


def assert_said(rows: pd.DataFrame, name: str) -> None:
    """docs/science.md names the columns, in their order."""
    page = (REPOSITORY / "docs" / "science.md").read_text(encoding="utf-8")
    (said,) = re.findall(rf"`{name}.csv` has (.*?)[;.](?:\s|$)", page, re.DOTALL)
    assert re.findall(r"`(\w+)`", said) == rows.columns.tolist()


def test_synonyms_are_found_and_written(runs: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "synonyms.csv"
    done = command(
        "analyze.py", "synonyms", "alike", "--pairs", "pairs.tsv", "--output", output, cwd=runs
    )
    head, knowledge, coarse = lines(done)
    assert head == ["pairs", "mean [95 %]", "permuted", "times", "p"]
    assert knowledge[:3] == ["knowledge neurons of the words", "12", "1.000"]
    assert knowledge[-1] == coarse[-1] == "< 0.001"
    text = " ".join(done.out.split())
    assert "12 of the 14 pairs in pairs.tsv are both concepts of the run, 2 are not" in text
    assert "Synonyms share more knowledge neurons than" in text
    rows = pd.read_csv(output)
    assert len(rows) == 12
    assert (rows["jaccard"] == 1).all()
    assert_said(rows, "synonyms")
    assert [path.name for path in output.parent.iterdir()] == ["synonyms.csv"]


def test_synonyms_that_share_nothing_are_not_said_to(runs: Path) -> None:
    done = command("analyze.py", "synonyms", "unlike", "--pairs", "pairs.tsv", cwd=runs)
    _, knowledge, coarse = lines(done)
    assert knowledge[1:] == coarse[1:] == ["12", "0.000", "0.000", "–", "1.000"]
    assert "Nothing here says that synonyms share more" in " ".join(done.out.split())


def test_two_prompts_of_a_sentence_are_compared(runs: Path, tmp_path: Path) -> None:
    output = tmp_path / "symmetry.csv"
    done = command("analyze.py", "symmetry", "subjects", "objects", "--output", output, cwd=runs)
    _, relation, template = lines(done)
    assert relation[:3] == ["permuted within the relation", "12", "1.000"]
    assert template[:3] == ["permuted within the template", "12", "1.000"]
    assert relation[-1] == template[-1] == "< 0.001"
    assert "12 sentences of both, of 12 and 12 prompts" in done.out
    rows = pd.read_csv(output)
    assert_said(rows, "symmetry")
    assert set(rows["template"]) == {"[MASK] is [WORD]."}
    assert (rows["concept_a"].str[1:] == rows["concept_b"].str[1:]).all()


def test_runs_may_be_at_addresses(runs: Path) -> None:
    files = fsspec.filesystem("memory")
    files.put(f"{runs}/objects/", "/sharing/objects/", recursive=True)
    try:
        done = command("analyze.py", "symmetry", "subjects", "memory://sharing/objects", cwd=runs)
    finally:
        files.rm("/sharing", recursive=True)
    assert lines(done)[1][1] == "12"
    assert "subjects and memory://sharing/objects: 12 sentences" in done.out


def test_terminal_has_colours_and_its_own_width(runs: Path) -> None:
    terminal = io.StringIO()
    with (
        mock.patch("sys.stdout", terminal),
        mock.patch.object(terminal, "isatty", return_value=True),
        mock.patch.dict("os.environ", {"TERM": "xterm", "COLUMNS": "90"}),
    ):
        from kn_lightning.sharing import answer_symmetry

        answer_symmetry([str(runs / "subjects"), str(runs / "objects")])
    assert "\x1b[1m" in terminal.getvalue()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("synonyms none", ("none", "run folder")),
        ("synonyms alike --pairs none.tsv", ("none.tsv", "two words a line")),
        ("synonyms subjects --pairs pairs.tsv", ("none of 14 pairs", "w0, v0")),
        ("synonyms alike --pairs pairs.tsv --senses 1", ("senses 1", "--pairs")),
        ("synonyms alike --senses 0", ("senses 0", "1")),
        ("synonyms alike --pairs pairs.tsv --output alike", ("output alike", "file")),
        ("symmetry subjects subjects", ("subjects", "same word masked")),
        ("symmetry subjects other", ("subjects and other", "weights_sha256", "one encoder")),
        ("symmetry subjects none", ("none", "run folder")),
        ("symmetry subjects objects --output alike", ("output alike", "file")),
        ("symmetry subjects", ("run_b",)),
    ],
)
def test_bad_input_is_one_line(runs: Path, arguments: str, words: tuple[str, ...]) -> None:
    before = sorted(runs.rglob("*"))
    done = command("analyze.py", *arguments.split(), cwd=runs)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in words), line
    assert sorted(runs.rglob("*")) == before
