"""Every code block of the README and the docs is run, or at least read by what would run it.

Commands are read here, and run by test_commands.py.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq
import pytest
from callbacks.commands import REPOSITORY, analyze, command, no_report

from kn_lightning.checkpoints import formation_parser
from kn_lightning.sharing import symmetry_parser, synonyms_parser

PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")], key=lambda path: path.name
)
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = {"extending.md": "tests/test_extending.py runs all its blocks"}
"""Pages whose blocks are checked by another test, named here."""
NOT_OURS = {
    "pip": "needs a network; .ci/run runs the line in a fresh environment",
    "pytest": "runs this very test",
    "scontrol": "queues a job of SLURM again; needs a cluster",
    "sphinx-build": "tests/docs/test_build.py runs it",
}
"""Programs of bash blocks that are not called here, and why. torchrun and srun need nodes: the
script's own arguments are parsed."""
SHELL = re.compile(r"^(code=\$\?|\[ .* \]|exit .*|)$")


def blocks(language: str) -> list[tuple[str, str]]:
    """Page and text of each block in a language."""
    return [
        (path.name, text)
        for path in PAGES
        if path.name not in ELSEWHERE
        for kind, text in FENCE.findall(path.read_text(encoding="utf-8"))
        if kind == language
    ]


def commands() -> list[tuple[str, str]]:
    """Page and text of each command of all bash blocks."""
    return [
        (page, one.strip())
        for page, text in blocks("bash")
        for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines()
        for one in re.sub(r"(^|\s)#.*", "", line).split("&& ")
    ]


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    directives = {"{toctree}", "{include} _generated/analyze.md", "{include} _generated/train.md"}
    directives |= {
        f"{{include}} _generated/{name}.md" for name in ("sources", "commands", "columns", "costs")
    }
    kinds = {
        kind
        for path in PAGES
        if path.name not in ELSEWHERE
        for kind, _ in FENCE.findall(path.read_text(encoding="utf-8"))
    }
    assert kinds == {"bash", "python", "json", *directives}
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        assert len(re.findall("^```", text, re.MULTILINE)) == 2 * len(FENCE.findall(text))
    assert all((REPOSITORY / reason.split()[0]).is_file() for reason in ELSEWHERE.values())


@pytest.mark.parametrize(
    "text", [pytest.param(t, id=f"{p}-{n}") for n, (p, t) in enumerate(blocks("bash"))]
)
def test_bash_reads_each_block(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("page", "line"), commands())
def test_each_command_is_one_that_its_script_takes(page: str, line: str) -> None:
    words = shlex.split(line)
    script = next((word for word in words if word in ("analyze.py", "train.py")), None)
    if script is None:
        assert SHELL.match(line) or words[0] in NOT_OURS, f"{page}: nothing checks {line!r}"
        return
    given = words[words.index(script) + 1 :]
    if given[:1] == ["formation"]:
        assert formation_parser().parse_args(given[1:]).encoders
        return
    asked = {"synonyms": synonyms_parser, "symmetry": symmetry_parser}.get(
        given[0] if given else ""
    )
    if asked is not None:
        assert asked().parse_args(given[1:])
        return
    if given[:1] == ["report"]:
        with no_report():
            assert command(script, *given).code == 0
        return
    done = command(script, *given, "--print_config")
    assert done.code == 0, done.err
    assert "model:" in done.out


@pytest.mark.parametrize(("page", "text"), blocks("json"))
def test_each_line_of_json_is_a_prompt_group(page: str, text: str) -> None:
    for line in text.splitlines():
        assert {"concept", "prompts"} <= set(json.loads(line)), page


@pytest.mark.slow
def test_each_block_of_python_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kn_lightning.encoders.rows import ROWS

    run = analyze(tmp_path / "run", "--data.max_groups", "4", "--edit.others", "1")
    assert pq.read_table(run / "edits.parquet").num_rows
    found = blocks("python")
    assert {page for page, _ in found} == {"README.md", "encoders.md", "runs.md"}
    for page, text in found:
        with mock.patch.dict(ROWS):
            exec(compile(text.replace("RUN_DIR", str(run)), page, "exec"), {})  # noqa: S102
    assert "knowledge" in capsys.readouterr().out
