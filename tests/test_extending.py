"""Every example of docs/extending.md runs, and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

REPOSITORY = Path(__file__).parent.parent
BLOCK = re.compile(r"(?:`(?P<file>\w+\.py)`:\n\n)?```(?P<kind>\w+)\n(?P<code>.*?)```", re.DOTALL)


class Example(NamedTuple):
    """A block: what it is, its text, and the file that it is put into, if the page says so."""

    kind: str
    code: str
    file: str | None


def examples() -> list[Example]:
    page = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
    return [Example(m["kind"], m["code"], m["file"]) for m in BLOCK.finditer(page)]


def run(command: list[str], folder: Path) -> str:
    paths = os.pathsep.join([str(folder), str(REPOSITORY)])
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's files are, beside ``analyze.py``."""
    made = tmp_path_factory.mktemp("beside")
    (made / "analyze.py").symlink_to(REPOSITORY / "analyze.py")
    for example in examples():
        if example.file is not None:
            (made / example.file).write_text(example.code, encoding="utf-8")
    return made


def test_the_page_has_an_example_of_each() -> None:
    found = examples()
    assert {example.kind for example in found} == {"python", "bash"}
    assert {example.file for example in found} == {
        None,
        "my_source.py",
        "my_edits.py",
        "my_study.py",
    }
    assert len(found) == 10


@pytest.mark.parametrize("code", [e.code for e in examples() if e.kind == "python" and not e.file])
def test_python_prints_what_the_page_says(code: str, folder: Path) -> None:
    (folder / "example.py").write_text(code, encoding="utf-8")
    printed = run([sys.executable, "example.py"], folder).splitlines()
    assert printed == re.findall(r"^# (.*)$", code, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("code", [e.code for e in examples() if e.kind == "bash"])
def test_studies_of_the_page_run(code: str, folder: Path) -> None:
    words = code.replace('"', "").split()
    assert words[0] == "python"
    run([sys.executable, *words[1:]], folder)
    run_dir = folder / words[words.index("--run_dir") + 1]
    assert set(pd.read_parquet(run_dir / "prompts.parquet").concept) == {"kitten", "puppy"}
    skipped = pd.read_parquet(run_dir / "skipped.parquet")
    assert "its sentences are not written yet" in set(skipped.reason)
    if "--edit.weights" in words:
        edits = pd.read_parquet(run_dir / "weight_edits.parquet")
        assert set(edits.edit) == {"halve"}
        assert (edits.probability_before != edits.probability_after).any()
    if "--model.compare" in words:
        assert set(pd.read_parquet(run_dir / "agreement.parquet").attribution) == {"size"}
