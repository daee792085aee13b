"""The loggers of ``analyze.py formation``: curves over training steps, and the end's results."""

from __future__ import annotations

import csv
import json
import os
import socket
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import wandb
import yaml
from callbacks.commands import Finished, command, write_jsonl
from callbacks.wandb_runs import OFFLINE, of_kind, records, values
from encoders.tiny import tiny_model
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kn_lightning.formation_tables import read_tables
from kn_lightning.run_names import RUN_ID

DATA = ("--data", "JsonlPrompts", "--data.tag_pos", "false")
STEPS = [0, 10, 30]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints of different weights, and prompts."""
    folder = tmp_path_factory.mktemp("private")
    model, tokenizer = tiny_model("bert")
    for step in STEPS:
        model.save_pretrained(folder / f"step{step}")
        tokenizer.save_pretrained(folder / f"step{step}")
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.3)
    prompts = ["the [MASK] is a small cat.", "a cat was a [MASK].", "the [MASK] sat on the bank."]
    concepts = ("kitten", "puppy", "lamb")
    lines = ({"concept": c, "prompts": prompts, "pos": "noun"} for c in concepts)
    write_jsonl(folder / "groups.jsonl", *lines)
    return folder


def study(material: Path, record: Path, steps: list[int], *flags: object, cwd: Path) -> Finished:
    names = [material / f"step{step}" for step in steps]
    data = (*DATA, "--data.path", material / "groups.jsonl")
    return command("analyze.py", "formation", record, "--encoders", *names, *data, *flags, cwd=cwd)


def means(record: Path, column: str) -> list[float]:
    concepts, _ = read_tables(record)
    found: list[float] = concepts.groupby("step")[column].mean().tolist()
    return found


def test_csv_and_tensorboard_have_curves_over_training_steps_and_dates(
    material: Path, tmp_path: Path
) -> None:
    loggers = [
        {"class_path": name, "init_args": {"save_dir": str(tmp_path), "name": name}}
        for name in ("CSVLogger", "TensorBoardLogger")
    ]
    config = tmp_path / "loggers.yaml"
    config.write_text(yaml.safe_dump({"trainer": {"logger": loggers}}))
    record = tmp_path / "record"
    done = study(material, record, STEPS, "--config", config, cwd=tmp_path)
    assert done.code == 0, done.err
    with (tmp_path / "CSVLogger/version_0/metrics.csv").open() as file:
        *rows, last = csv.DictReader(file)
    assert [int(row["step"]) for row in rows] == STEPS
    board = EventAccumulator(str(tmp_path / "TensorBoardLogger/version_0"))
    board.Reload()
    for column in ("probability", "n_neurons"):
        expected = pytest.approx(means(record, column), rel=1e-5)
        for name in (f"formation/{column}", f"formation/noun/{column}"):
            assert [float(row[name]) for row in rows] == expected
            assert [event.step for event in board.Scalars(name)] == STEPS
            assert [event.value for event in board.Scalars(name)] == expected
    assert all(float(row["formation/seconds"]) > 0 for row in rows)
    timing = json.loads((record / "summary.json").read_text())["timing"]["all"]["first"]
    name = "formation/timing/all/first/neurons/median"
    assert (int(last["step"]), float(last[name])) == (30, timing["neurons"]["median"])
    drawn = {f"figures/{path.stem}" for path in (record / "figures").glob("*.png")}
    assert set(board.Tags()["images"]) == drawn != set()
    settings = yaml.safe_load((tmp_path / "CSVLogger/version_0/hparams.yaml").read_text())
    assert settings["run"] == "record"
    assert settings["encoders"] == [f"step{step}" for step in STEPS]
    assert settings["environment"]["source"] == "checkpoints"


@pytest.fixture(scope="module")
def tracked(material: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A study with W&B that went on with a further checkpoint: its folder, and both parts."""
    cwd = tmp_path_factory.mktemp("cwd")
    secrets = {"USER": "somebody-else", "WANDB_API_KEY": "5ecre7" * 7}
    with (
        mock.patch.dict(os.environ, secrets),
        mock.patch.object(socket, "gethostname", return_value="machine-of-somebody"),
    ):
        for steps in (STEPS[:2], STEPS):
            done = study(material, cwd / "record", steps, *OFFLINE, cwd=cwd)
            assert done.code == 0, done.err
            time.sleep(1)  # W&B names the folders of a run's parts by the second
    files = sorted((cwd / "wandb").glob("offline-run-*/run-*.wandb"))
    return cwd, [list(records(file)) for file in files]


@pytest.mark.slow
def test_wandb_run_goes_on_with_all_steps_and_ends_with_table_and_figures(
    tracked: tuple[Path, list[Any]],
) -> None:
    cwd, parts = tracked
    (first,), (second,) = (of_kind(part, "run")[:1] for part in parts)
    assert first.run_id == second.run_id == (cwd / "record" / RUN_ID).read_text()
    histories = [[values(row.item) for row in of_kind(part, "history")] for part in parts]
    steps = [
        [row["trainer/global_step"] for row in history if "formation/probability" in row]
        for history in histories
    ]
    assert steps == [STEPS[:2], STEPS]
    curve = [row["formation/layer_0/n_neurons"] for row in histories[1][:3]]
    _, neurons = read_tables(cwd / "record")
    own = neurons[neurons["layer"] == 0].groupby("step").size()
    assert curve == pytest.approx([own.get(step, 0) / 3 for step in STEPS])
    last = histories[1][-1]
    drawn = {f"figures/{path.stem}" for path in (cwd / "record/figures").glob("*.png")}
    shown = {name.split(".")[0] for name in last if name.startswith("figures/")}
    assert shown == drawn != set()
    logged = {k: v for r in of_kind(parts[1], "summary") for k, v in values(r.update).items()}
    assert logged["formation/order/first/n"] <= 3
    tables = sorted(cwd.glob("wandb/offline-*/files/media/table/**/*.json"))
    content = max((json.loads(t.read_text()) for t in tables), key=lambda t: len(t["data"]))
    place = {name: n for n, name in enumerate(content["columns"])}
    summary = json.loads((cwd / "record/summary.json").read_text())
    for layer in summary["by_layer"]:
        rows = [r for r in content["data"] if r[place["concepts"]] == f"layer_{layer['layer']}"]
        assert [row[place["step"]] for row in rows] == STEPS
        curve = [row[place["jaccard_with_last"]] for row in rows]
        assert curve == [point["mean"] for point in layer["jaccard_with_last"]]


@pytest.mark.slow
def test_wandb_learns_nothing_of_the_machine(
    tracked: tuple[Path, list[Any]], material: Path
) -> None:
    cwd, parts = tracked
    assert all(of_kind(part, "environment") == [] for part in parts)
    logged = [str(record).encode() for part in parts for record in part]
    logged += [p.read_bytes() for p in cwd.glob("wandb/*/files/**/*.*")]
    secrets = (str(material), str(cwd), "machine-of-somebody", "somebody-else", "5ecre7")
    for secret in (*secrets, str(Path.home())):
        assert [text for text in logged if secret.encode() in text] == [], secret
    assert any(b"step10" in text for text in logged)


def test_logger_that_fails_costs_a_warning_and_no_study(material: Path, tmp_path: Path) -> None:
    flags = ("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", tmp_path)
    with (
        mock.patch(
            "lightning.pytorch.loggers.CSVLogger.log_metrics", side_effect=OSError("disk is gone")
        ) as log,
        pytest.warns(UserWarning, match=f"CSVLogger is lost .disk is gone.*{tmp_path / 'record'}"),
    ):
        done = study(material, tmp_path / "record", STEPS, *flags, cwd=tmp_path)
    assert done.code == 0, done.err
    assert log.call_count == 1
    assert (tmp_path / "record/report.html").is_file()


def test_wandb_without_an_account_is_one_line_and_nothing_is_written(
    material: Path, tmp_path: Path
) -> None:
    with mock.patch.object(wandb, "init", side_effect=wandb.Error("no key")):
        flags = ("--trainer.logger", "WandbLogger")
        done = study(material, tmp_path / "record", STEPS, *flags, cwd=tmp_path)
    assert done.code == 2
    assert done.err.startswith("error: trainer.logger: W&B: no key")
    assert list(tmp_path.iterdir()) == []
