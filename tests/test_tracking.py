"""The results of a run folder in Lightning's CSV and TensorBoard loggers and in any other."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import wandb
import yaml
from callbacks.commands import command, no_report, write_jsonl
from encoders.tiny import tiny_model
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kn_lightning.results import flat_numbers, read_results
from kn_lightning.tracking import shared_settings, track_results

LINES = [
    {
        "concept": "kitten",
        "prompts": ["[MASK] will grow up to be a cat.", "a small cat is a [MASK]."],
    },
    {"concept": "paris", "prompts": ["the capital of france is [MASK]."], "pos": "noun"},
]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study's run folder, and the folder of its CSV and TensorBoard loggers."""
    folder = tmp_path_factory.mktemp("logged")
    model, tokenizer = tiny_model("bert")
    model.save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    names = ("CSVLogger", "TensorBoardLogger")
    loggers = [
        {"class_path": name, "init_args": {"save_dir": str(folder / "logs"), "name": name}}
        for name in names
    ]
    config = folder / "loggers.yaml"
    config.write_text(yaml.safe_dump({"trainer": {"logger": loggers}}))
    done = command(
        *("analyze.py", "--config", config, "--run_dir", folder / "run"),
        *("--model.encoder", folder / "bert", "--data", "JsonlPrompts"),
        *("--data.path", write_jsonl(folder / "own.jsonl", *LINES), "--data.pack_tokens", 5),
        *("--track.interval", 0),
    )
    assert done.code == 0, done.err
    return folder / "run", folder / "logs"


def numbers_of(run_dir: Path) -> dict[str, float]:
    """The numbers of ``summary.json``, by the names under which they are logged."""
    summary = json.loads((run_dir / "summary.json").read_text())
    del summary["environment"]
    found: dict[str, float] = {}
    open_parts: list[tuple[str, Any]] = list(summary.items())
    while open_parts:
        key, value = open_parts.pop()
        if isinstance(value, dict):
            open_parts += [(f"{key}/{inner}", part) for inner, part in value.items()]
        elif type(value) in (int, float):
            found[key] = value
    return found


def test_csv_has_progress_and_every_number_of_the_summary(logged: tuple[Path, Path]) -> None:
    run_dir, logs = logged
    with (logs / "CSVLogger" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    progress = [row for row in rows if row["progress/prompts"]]
    assert [int(row["step"]) for row in progress] == [2, 3]
    assert [float(row["progress/share"]) for row in progress] == [pytest.approx(2 / 3), 1]
    expected = numbers_of(run_dir)
    assert {key: float(rows[-1][key]) for key in expected} == expected
    assert len(expected) > 50


def test_settings_are_kept_beside_the_metrics_shareable(logged: tuple[Path, Path]) -> None:
    run_dir, logs = logged
    files = sorted(logs.rglob("hparams.yaml"))
    assert len(files) == 2
    for file in files:
        assert str(run_dir.parent) not in file.read_text()
    settings = yaml.safe_load(files[0].read_text())
    assert settings["run"] == "run"
    assert settings["model"]["encoder"] == "bert"
    assert settings["environment"]["encoder"]["n_layers"] == 3


def test_tensorboard_has_scalars_figures_histograms_and_concepts(
    logged: tuple[Path, Path],
) -> None:
    run_dir, logs = logged
    board = EventAccumulator(str(logs / "TensorBoardLogger" / "version_0"))
    board.Reload()
    tags = board.Tags()
    names = {f"figures/{path.stem}" for path in (run_dir / "figures").glob("*.png")}
    assert set(tags["images"]) == names != set()
    assert {"histograms/neurons", "histograms/suppress own"} <= set(tags["histograms"])
    numbers = numbers_of(run_dir)
    assert numbers.keys() <= set(tags["scalars"])
    for key, value in numbers.items():
        (event,) = board.Scalars(key)
        assert event.step == 3
        assert math.isclose(event.value, value, rel_tol=1e-6)
    assert [event.step for event in board.Scalars("progress/prompts")] == [2, 3]
    (text,) = board.Tensors("concepts/text_summary")
    assert b"kitten" in text.tensor_proto.string_val[0]


def test_finished_study_asked_again_with_a_logger_logs_its_results(
    logged: tuple[Path, Path], tmp_path: Path
) -> None:
    run_dir, _ = logged
    with no_report():
        done = command(
            *("analyze.py", "--config", run_dir / "config.yaml", "--run_dir", run_dir),
            *("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", tmp_path),
        )
    assert done.code == 0, done.err
    (file,) = tmp_path.rglob("metrics.csv")
    (row,) = csv.DictReader(file.read_text().splitlines())
    assert {key: float(value) for key, value in row.items() if key != "step"} == numbers_of(run_dir)


def test_other_loggers_get_the_numbers(logged: tuple[Path, Path]) -> None:
    run_dir, _ = logged
    logger = mock.create_autospec(DummyLogger, instance=True)
    track_results([logger], run_dir)
    logger.log_metrics.assert_called_once_with(numbers_of(run_dir), 3)


def test_without_loggers_nothing_is_read(tmp_path: Path) -> None:
    track_results([], tmp_path / "no such run")


def test_concepts_are_counted_as_in_the_tables(logged: tuple[Path, Path]) -> None:
    results = read_results(logged[0])
    concepts = results.table.set_index("concept")
    assert concepts["prompts"].to_dict() == {"kitten": 2, "paris": 1}
    assert concepts.loc["paris", "pos"] == "noun"
    assert results.values["neurons"] == concepts["neurons"].tolist()
    own = results.numbers["changes/suppress/own/mean"]
    assert concepts["suppress own"].mean() == pytest.approx(own)


def test_numbers_are_named_by_their_place_and_others_left_out() -> None:
    values = {"a": {"factor:0.5": {"n": 3}, "name": "x"}, "b": True, "c": None, "d": [1], "e": 0.5}
    assert flat_numbers(values) == {"a/factor:0.5/n": 3, "e": 0.5}


def test_settings_to_be_shown_have_no_logger() -> None:
    logger = {"class_path": "WandbLogger", "init_args": {"settings": {"api_key": "secret"}}}
    config = {"trainer": {"logger": logger, "devices": 1}, "model": {"encoder": "/home/me/bert"}}
    assert shared_settings(config) == {"trainer": {"devices": 1}, "model": {"encoder": "bert"}}
    assert config["trainer"]["logger"] is logger


def test_settings_to_be_shown_have_no_secret() -> None:
    callback = {"class_path": "mine.Slack", "init_args": {"token": "hunter1", "channel": "runs"}}
    shown = shared_settings(
        {
            "trainer": {"callbacks": [callback], "default_root_dir": "s3://KEY:hunter2@bucket/x"},
            "data": {"init_args": {"api_key": "hunter3", "path": "own.jsonl"}},
        }
    )
    assert "hunter" not in str(shown)
    assert shown["trainer"]["callbacks"][0]["init_args"]["channel"] == "runs"
    assert shown["data"]["init_args"]["path"] == "own.jsonl"


def test_wandb_that_is_gone_at_the_end_is_a_warning_that_names_the_results(
    logged: tuple[Path, Path],
) -> None:
    run_dir, _ = logged
    logger = mock.create_autospec(WandbLogger, instance=True)
    logger.experiment = mock.Mock(disabled=True)
    error = wandb.Error("https://me:hunter@host/api?hunter refused")
    logger.experiment.finish.side_effect = error
    other = mock.create_autospec(DummyLogger, instance=True)
    with pytest.warns(UserWarning, match=f"lost .https://host/api refused.*in {run_dir}"):
        track_results([logger, other], run_dir)
    other.log_metrics.assert_called_once()
