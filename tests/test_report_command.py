"""``analyze.py report``, and the language of reports."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from callbacks.commands import (
    command,
    refused,
)


@pytest.mark.parametrize("arguments", [[], ["one", "two"], ["one", "--language", "ja"]])
def test_report_wants_one_run_folder(arguments: list[str]) -> None:
    refused(command("analyze.py", "report", *arguments))


@pytest.mark.parametrize(
    ("arguments", "language"), [([], "en"), (["--report.language", "ja"], "ja")]
)
def test_report_speaks_the_language_asked_for(arguments: list[str], language: str) -> None:
    with mock.patch("kn_lightning.report.write_report") as write_report:
        assert command("analyze.py", "report", "some/run", *arguments).code == 0
    write_report.assert_called_once_with(Path("some/run"), language)


def test_study_reports_in_the_language_of_its_config(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("report:\n  language: ja\n", encoding="utf-8")
    run_dir = tmp_path / "run"
    arguments = ("--config", config, "--data.max_groups", 1, "--run_dir", run_dir)
    with (
        mock.patch("kn_lightning.report.write_report") as write_report,
        mock.patch("kn_lightning.report.fonts.cjk_font", return_value="Some Gothic"),
    ):
        assert command("analyze.py", *arguments).code == 0
    write_report.assert_called_once_with(run_dir, "ja")


def test_language_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    arguments = ("--run_dir", tmp_path / "run", "--report.language")
    refused(command("analyze.py", *arguments, "fr"), "report.language 'fr'", "en, ja")
    with mock.patch("kn_lightning.report.fonts.cjk_font", return_value=None):
        refused(command("analyze.py", *arguments, "ja"), "pip install matplotlib-fontja")
    assert list(tmp_path.iterdir()) == []


def test_report_of_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    refused(command("analyze.py", "report", tmp_path), tmp_path)
    assert list(tmp_path.iterdir()) == []
