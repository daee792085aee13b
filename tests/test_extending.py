"""docs/extending.md does what it says: all its blocks are run, in the order of the page."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from callbacks.commands import REPOSITORY, command, no_report, table

from kn_lightning.core.registry import ATTRIBUTIONS
from kn_lightning.core.weights import WEIGHT_EDITS
from kn_lightning.encoders.rows import ROWS

PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`(my_\w+\.py)`")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a reader has analyze.py; names and modules of the page are gone behind it."""
    shutil.copy(REPOSITORY / "analyze.py", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with mock.patch.dict(ROWS), mock.patch.dict(ATTRIBUTIONS), mock.patch.dict(WEIGHT_EDITS):
        sys.modules.pop("analyze", None)
        yield tmp_path
    # These alone: what else was imported meanwhile must not be there a second time.
    for name in [*sys.modules]:
        if name == "analyze" or name.startswith("my_"):
            del sys.modules[name]


def test_every_block_of_the_page_runs_and_prints_what_stands_there(folder: Path) -> None:
    printed, runs = "", []
    blocks = list(BLOCK.finditer(PAGE))
    assert PAGE.count("```") == 2 * len(blocks)
    for place, block in enumerate(blocks):
        kind, text = block.groups()
        if kind == "python":
            name = FILE.findall(PAGE[: block.start()])[-1]  # named last before the block
            assert not (folder / name).exists(), f"{name} comes twice"
            (folder / name).write_text(text, encoding="utf-8")
            shown = place + 1 < len(blocks) and blocks[place + 1].group(1) == "text"
            if name != "my_study.py":  # that one is run by the bash block behind it
                done = command(str(folder / name), cwd=folder)
                assert (done.code, done.out != "") == (0, shown), done
                printed = done.out
        elif kind == "text":
            assert printed == text
        else:
            assert kind == "bash"
            for line in text.splitlines():
                program, script, *arguments = shlex.split(line)
                assert program == "python"
                with no_report():
                    done = command(str(folder / script), *arguments, cwd=folder)
                assert done.code == 0, done.err
                runs.append(folder / arguments[-1])
    young, halved = runs
    assert {row["prompt"] for row in table(young, "prompts")} >= {"the [MASK] is a young cat."}
    reasons = [row["reason"] for row in table(young, "skipped") if row["concept"] == "cygnet"]
    assert reasons == ["swans are left out"]
    edits = table(halved, "weight_edits")
    assert {row["edit"] for row in edits} == {"halve"}
    assert any(row["probability_after"] != row["probability_before"] for row in edits)
    from kn_lightning.report import write_report

    page = write_report(halved, "en")
    assert "halve" in page.read_text(encoding="utf-8")
    study = folder / "my_study.py"
    study.write_text("import my_attribution\n" + study.read_text())
    with no_report():
        arguments = ("--data", "my_prompts.Young", "--model.attribution", "size")
        done = command(str(study), *arguments, "--run_dir", "sized", cwd=folder)
    assert done.code == 0, done.err
