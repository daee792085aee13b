"""``train.py --formation.every N``: a training is followed, and left as it would be without."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest
import torch
from encoders.tiny import tiny_model
from safetensors.torch import load_file

from kn_lightning.callbacks.formation import FormationCallback
from kn_lightning.formation import measured
from kn_lightning.formation_tables import read_record, read_tables

from .commands import Finished, command
from .wandb_runs import OFFLINE, of_kind, records, values

QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder with dropout, so that random numbers matter."""
    path = tmp_path_factory.mktemp("tiny") / "encoder"
    model, tokenizer = tiny_model("bert")
    assert model.config.hidden_dropout_prob > 0
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def train(tiny: Path, prompt_file: Path, folder: Path, *flags: object) -> Finished:
    """Five steps of two sentences and three, with what is drawn at random drawn anew."""
    data = ("--data", "JsonlPrompts", "--data.path", prompt_file, "--data.batch_size", 4)
    data += ("--data.tag_pos", "false")
    length = ("--trainer.max_steps", 5, "--trainer.max_epochs", -1, "--model.learning_rate", 0.01)
    length += ("--trainer.log_every_n_steps", 1)
    arguments = (*QUIET, *data, *length, "--model.encoder", tiny, "--export.folder", folder)
    done = command("train.py", *arguments, *flags, cwd=folder.parent)
    assert done.code == 0, done.err
    return done


@pytest.fixture(scope="module")
def followed(
    tiny: Path, prompt_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Finished]:
    """A training with a formation, its encoder saved wherever it is measured."""
    folder = tmp_path_factory.mktemp("followed")

    def saved(encoder: Any, *arguments: Any) -> Any:
        *_, step = arguments
        encoder.model.save_pretrained(folder / f"step{step.number}")
        encoder.tokenizer.save_pretrained(folder / f"step{step.number}")
        return measured(encoder, *arguments)

    logger = ("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", folder / "logs")
    logger += ("--trainer.log_every_n_steps", 1)
    flags = ("--formation.every", 2, "--formation.folder", folder / "record")
    with mock.patch("kn_lightning.callbacks.formation.measured", saved):
        done = train(tiny, prompt_file, folder / "encoder", *flags, *logger)
    return folder, done


def test_training_is_the_same_to_the_last_bit(
    followed: tuple[Path, Finished], tiny: Path, prompt_file: Path, tmp_path: Path
) -> None:
    done = train(tiny, prompt_file, tmp_path / "encoder")
    assert not (tmp_path / "formation").exists()
    with_it, without, before = (
        load_file(path / "model.safetensors")
        for path in (followed[0] / "encoder", tmp_path / "encoder", tiny)
    )
    assert with_it.keys() == without.keys()
    assert all(torch.equal(with_it[name], without[name]) for name in without)
    assert not all(torch.equal(with_it[name], before[name]) for name in without)
    said = [line for line in done.out.splitlines() if line.startswith(("train_", "val_"))]
    assert said
    assert set(said) <= set(followed[1].out.splitlines())


def test_first_step_every_second_and_the_last_are_measured(
    followed: tuple[Path, Finished],
) -> None:
    folder, done = followed
    concepts, _ = read_tables(folder / "record")
    assert concepts["step"].unique().tolist() == [0, 2, 4, 5]
    assert concepts["checkpoint"].isna().all()
    assert f"report:  {folder / 'record' / 'report.html'}" in done.out
    assert (folder / "record" / "figures" / "formation.png").is_file()


def test_checkpoints_of_the_same_training_give_the_same_record(
    followed: tuple[Path, Finished], prompt_file: Path, tmp_path: Path
) -> None:
    folder, _ = followed
    names = [folder / f"step{number}" for number in (0, 2, 4, 5)]
    data = ("--data", "JsonlPrompts", "--data.path", prompt_file, "--data.tag_pos", "false")
    with mock.patch("kn_lightning.report.write_report", lambda folder: folder):
        done = command("analyze.py", "formation", tmp_path, "--encoders", *names, *data)
    assert done.code == 0, done.err
    own, other = read_record(folder / "record"), read_record(tmp_path)
    assert own["identity"] == other["identity"]
    assert (own["source"], other["source"]) == ("training", "checkpoints")
    for one, two in zip(read_tables(folder / "record"), read_tables(tmp_path), strict=True):
        columns = [name for name in one.columns if name != "checkpoint"]
        pd.testing.assert_frame_equal(one[columns], two[columns])


def test_loggers_get_the_means_of_every_measurement(followed: tuple[Path, Finished]) -> None:
    folder, _ = followed
    (path,) = (folder / "logs").rglob("metrics.csv")
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["formation/probability"]]
    assert [int(row["step"]) for row in rows] == [0, 2, 4, 5]
    concepts, _ = read_tables(folder / "record")
    for column in ("probability", "n_neurons", "rank"):
        means = concepts.groupby("step")[column].mean()
        logged = [float(row[f"formation/{column}"]) for row in rows]
        assert logged == pytest.approx(means.tolist(), rel=1e-5)
    assert rows[0]["formation/jaccard_with_previous"] == ""
    layers = [name for name in rows[0] if name.startswith("formation/layer_")]
    assert layers
    for row in rows:
        own = [float(row[name]) for name in layers]
        assert sum(own) == pytest.approx(float(row["formation/n_neurons"]), rel=1e-5)


def test_loggers_get_at_the_end_when_neurons_were_there(followed: tuple[Path, Finished]) -> None:
    folder, _ = followed
    (path,) = (folder / "logs").rglob("metrics.csv")
    with path.open() as file:
        last = list(csv.DictReader(file))[-1]
    summary = json.loads((folder / "record" / "summary.json").read_text())
    timing = summary["timing"]["all"]["first"]["neurons"]
    assert int(last["step"]) == 5
    assert float(last["formation/timing/all/first/neurons/median"]) == timing["median"]


@pytest.mark.slow
def test_wandb_has_curves_by_step_and_at_the_end_their_table_and_figures(
    tiny: Path, prompt_file: Path, tmp_path: Path
) -> None:
    flags = ("--formation.every", 2, "--formation.folder", tmp_path / "record")
    train(tiny, prompt_file, tmp_path / "encoder", *flags, *OFFLINE)
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    history = [values(row.item) for row in of_kind(list(records(file)), "history")]
    steps = [row["trainer/global_step"] for row in history if "formation/probability" in row]
    assert steps == [0, 2, 4, 5]
    last = history[-1]
    drawn = {f"figures/{path.stem}" for path in (tmp_path / "record/figures").glob("*.png")}
    shown = {name.split(".")[0] for name in last if name.startswith("figures/")}
    assert shown == drawn != set()
    (table,) = (file.parent / "files/media/table").rglob("*.json")
    content = json.loads(table.read_text())
    likeness = content["columns"].index("jaccard_with_last")
    rows = [row for row in content["data"] if row[1] == "all"]
    assert [row[0] for row in rows] == [0, 2, 4, 5]
    summary = json.loads((tmp_path / "record/summary.json").read_text())
    curve = summary["curves"]["all"]["jaccard_with_last"]
    assert [row[likeness] for row in rows] == [point["mean"] for point in curve]


def test_text_is_followed_by_prompts_of_a_file(
    tiny: Path, prompt_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text(
        "a small cat is a kitten.\nthe capital of france is paris.\n" * 8
    )
    flags = ("--data", "TextLines", "--data.path", "text", "--trainer.max_epochs", 1)
    formation = ("--formation.every", 100, "--formation.prompts", prompt_file)
    formation += ("--formation.max_groups", 2, "--formation.folder", "record")
    done = command("train.py", *QUIET, *flags, *formation, "--model.encoder", tiny, cwd=tmp_path)
    assert done.code == 0, done.err
    concepts, _ = read_tables(tmp_path / "record")
    assert concepts["concept"].unique().tolist() == ["kitten", "milk"]
    assert len(concepts["step"].unique()) == 2  # before the first step, and behind the last
    summary = json.loads((tmp_path / "record" / "summary.json").read_text())
    assert summary["n_concepts"] == 2


def test_without_its_setting_nothing_is_followed() -> None:
    callback = FormationCallback()
    callback.setup(mock.Mock(), mock.Mock(), "fit")
    callback.on_train_start(mock.Mock(), mock.Mock())
    callback.on_train_batch_end(mock.Mock(global_step=0), mock.Mock())
    callback.on_train_end(mock.Mock(), mock.Mock())
    assert not callback.record.path.exists()
