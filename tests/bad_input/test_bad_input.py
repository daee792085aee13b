"""Bad input is one line with value, place and remedy, exit code 2, and nothing written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from callbacks.commands import command

from kn_lightning import load_encoder

from .case import Case, run
from .material import ODD, write_material
from .newcomers import EVERY
from .table import PAGE, message, page, studied


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the cases name; they must leave it as it is."""
    folder = tmp_path_factory.mktemp("material")
    write_material(folder)
    return folder


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Everything in a folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def said() -> dict[Case, str]:
    """What the cases that ran were told."""
    return {}


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("case", EVERY, ids=lambda case: f"{case.section}: {case.what}")
def test_bad_input_is_one_line_that_names_it_and_writes_nothing(
    case: Case, material: Path, said: dict[Case, str], capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(material)
    done = run(case, material)
    assert done.code == 2, done
    assert done.out == ""
    assert re.fullmatch(r"error: .+\n", done.err), done.err
    assert "Traceback" not in done.err
    assert "hunter" not in done.err  # users, passwords and tokens of the cases
    for word in case.words:
        assert word in done.err
    assert len(done.err) < 700
    assert contents(material) == before
    assert capfd.readouterr().err == ""  # of loggers that began before this test
    said[case] = message(done, material)


def test_there_are_cases_of_every_kind() -> None:
    assert len(set(EVERY)) == len(EVERY) >= 100
    assert len({case.section for case in EVERY}) >= 8


def test_page_lists_every_case_with_its_message(material: Path, said: dict[Case, str]) -> None:
    for case in EVERY:
        if case not in said:  # this test was asked for alone
            said[case] = message(run(case, material), material)
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(said, studied()), (
        "write it anew: PYTHONPATH=tests python -m bad_input.table"
    )


def test_what_is_odd_but_no_mistake_is_studied_or_left_out_with_the_reason() -> None:
    outcomes = studied()
    assert outcomes.keys() == {what for what, _ in ODD}
    assert sum(outcome == "studied" for outcome in outcomes.values()) >= 6
    assert sum("tokens" in outcome for outcome in outcomes.values()) >= 2


def test_bad_files_and_models_are_as_they_were(material: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    write_material(fresh)
    before = {path.relative_to(fresh) for path in contents(fresh)}
    assert {path.relative_to(material) for path in contents(material)} == before
    assert not list(material.rglob("run_by_the_model"))


def test_debug_shows_the_traceback_before_the_line() -> None:
    done = command("analyze.py", "--refine.share", 3, "--debug")
    assert done.code == 2
    *trace, last = done.err.strip().splitlines()
    assert trace[0].startswith("Traceback")
    assert any("in instantiate_classes" in line for line in trace)
    assert last == "error: refine.share 3.0: give a share above 0 and up to 1"
    assert "--debug" in command("analyze.py", "--help").out


def test_debug_shows_no_key_that_was_given(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("trainer: {logger: {class_path: WandbLogger, init_args: {passwd: hunter1}}}")
    flags = ("--trainer.logger", "WandbLogger", "--trainer.logger.api_key", "hunter2")
    for given in (("--config", config), flags):
        done = command("analyze.py", "--debug", *given, "--data.pack_tokens", 7)
        assert done.code == 2
        assert done.err.startswith("Traceback")
        assert done.err.count("…")
        assert "hunter" not in done.err


def test_command_that_the_refusal_of_pickled_weights_names_converts_them(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(material / "models" / "pickled", tmp_path / "pickled")
    monkeypatch.chdir(tmp_path)
    done = command("analyze.py", "--model.encoder", "pickled", cwd=tmp_path)
    (code,) = re.findall(r'`python -c "([^"]+)"`', done.err)
    exec(code, {})
    good, converted = load_encoder(material / "models" / "good"), load_encoder("pickled")
    for name, tensor in good.model.state_dict().items():
        assert converted.model.state_dict()[name].equal(tensor)
