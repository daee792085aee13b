"""What loggers get of a study: a W&B run on disk, read back; nothing of the machine in it."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pyarrow as pa
import pytest
import torch
import wandb
import yaml
from filelock import FileLock

from kn_lightning.callbacks.track import TrackCallback, Window
from kn_lightning.errors import InputError
from kn_lightning.outcome import Outcome
from kn_lightning.run_names import RUN_ID

from .commands import REPOSITORY, Finished, command, no_report, real_command, table
from .conftest import GROUPS, Study
from .wandb_runs import OFFLINE, of_kind, records, values

FOREIGN = ("figures/key.txt", "key.txt", "mine.parquet")
"""Somebody's own in the run folder."""
SECRETS = {"USER": "somebody-else", "LOGNAME": "somebody-else", "WANDB_API_KEY": "5ecre7" * 7}
HOST = "machine-of-somebody"


@dataclass(frozen=True)
class Tracked:
    """A study that was cut off after its first pack and then finished, both times with W&B."""

    cwd: Path
    run_dir: Path
    parts: list[list[Any]]
    cut_off: Finished

    def config(self) -> dict[str, Any]:
        return {
            k: v
            for part in of_kind(self.parts[1], "config")
            for k, v in values(part.update).items()
        }

    def history(self, part: int) -> list[dict[str, Any]]:
        return [values(row.item) for row in of_kind(self.parts[part], "history")]

    def artifact(self, kind: str = "run") -> dict[str, Any]:
        """Files of the last artifact, by name."""
        artifacts = [a for a in of_kind(self.parts[1], "artifact") if a.type == kind]
        return {entry.path: entry for entry in artifacts[-1].manifest.contents}


@pytest.fixture(scope="module")
def tracked(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_folder: Callable[[str], Path],
    prompt_file: Path,
) -> Tracked:
    cwd = tmp_path_factory.mktemp("cwd")
    run_dir = tmp_path_factory.mktemp("private") / "run"
    arguments = (
        *("--run_dir", run_dir, "--model.encoder", tiny_folder("bert"), *OFFLINE),
        *("--data", "JsonlPrompts", "--data.path", prompt_file, "--data.pack_tokens", 30),
        *("--track.interval", 0),
    )
    with (
        mock.patch.dict(os.environ, SECRETS),
        mock.patch.object(socket, "gethostname", return_value=HOST),
    ):
        cut_off = command("analyze.py", *arguments, "--trainer.limit_predict_batches", 1, cwd=cwd)
        for name in FOREIGN:
            (run_dir / name).parent.mkdir(exist_ok=True)
            (run_dir / name).write_text("somebody's own, and no part of the artifact")
        with pytest.warns(UserWarning, match=f"{', '.join(FOREIGN)} is not of a run"):
            done = command("analyze.py", *arguments, cwd=cwd)
    assert done.code == 0, done.err
    files = sorted((cwd / "wandb").glob("offline-run-*/run-*.wandb"))
    return Tracked(cwd, run_dir, [list(records(file)) for file in files], cut_off)


@pytest.mark.slow
def test_resumed_study_goes_on_with_its_run(tracked: Tracked) -> None:
    assert tracked.cut_off.code == 2
    assert "not computed yet" in tracked.cut_off.err
    first, second = ([run.run_id for run in of_kind(part, "run")][0] for part in tracked.parts)
    assert first == second == (tracked.run_dir / RUN_ID).read_text()
    assert all(of_kind(part, "run")[0].resume for part in tracked.parts)
    steps = [row["trainer/global_step"] for part in (0, 1) for row in tracked.history(part)]
    n_prompts = sum(map(len, GROUPS.values()))
    assert steps == sorted(steps)
    assert 0 < steps[0] < steps[-1] == n_prompts


@pytest.mark.slow
def test_config_is_the_resolved_settings_and_the_environment(tracked: Tracked) -> None:
    config = tracked.config()
    kept = yaml.safe_load((tracked.run_dir / "config.yaml").read_text())
    assert config["run"] == "run"
    for section in ("refine", "edit", "write"):
        assert config[section] == kept[section]
    assert config["model"] == {**kept["model"], "encoder": "bert"}
    assert config["data"]["init_args"]["path"] == "groups.jsonl"
    assert "logger" not in config["trainer"]
    environment = json.loads((tracked.run_dir / "environment.json").read_text())
    for part in ("versions", "device", "encoder", "data", "study"):
        assert config["environment"][part] == environment[part]


@pytest.mark.slow
def test_history_has_progress_and_completeness(tracked: Tracked) -> None:
    rows = [row for part in (0, 1) for row in tracked.history(part) if "progress/prompts" in row]
    n_packs = len({row["progress/prompts"] for row in rows})
    assert len(rows) == n_packs > 3
    n_prompts = sum(map(len, GROUPS.values()))
    assert [row["progress/share"] for row in rows] == [
        pytest.approx(row["progress/prompts"] / n_prompts) for row in rows
    ]
    assert rows[-1]["progress/share"] == 1
    assert all(row["progress/prompts_per_second"] > 0 for row in rows)
    # All packs together are the study.
    largest: dict[Any, float] = {}
    for row in table(tracked.run_dir, "completeness"):
        key = row["prompt_id"]
        largest[key] = max(largest.get(key, 0.0), abs(cast("float", row["total"])))
    worst = max(
        abs(cast("float", row["residual"])) / largest[row["prompt_id"]]
        for row in table(tracked.run_dir, "completeness")
    )
    name = "completeness/largest_relative_residual"
    assert max(row[name] for row in rows) == pytest.approx(worst, rel=1e-5)
    assert all(0 <= row["completeness/mean_relative_residual"] <= row[name] for row in rows)
    evaluations = [cast("int", row["evaluations"]) for row in table(tracked.run_dir, "prompts")]
    logged = [row["attribution/evaluations_per_prompt"] for row in rows]
    assert min(evaluations) <= min(logged) <= max(logged) <= max(evaluations)


@pytest.mark.slow
def test_table_figures_histograms_and_summary_are_those_of_the_run_folder(
    tracked: Tracked,
) -> None:
    entry = tracked.artifact()["concepts.table.json"]
    concepts = json.loads((tracked.cwd / entry.local_path).read_text())
    rows = {row[0]: dict(zip(concepts["columns"], row, strict=True)) for row in concepts["data"]}
    assert rows.keys() == GROUPS.keys()
    neurons = [row["concept"] for row in table(tracked.run_dir, "neurons")]
    for concept, prompts in GROUPS.items():
        assert rows[concept]["prompts"] == len(prompts)
        assert rows[concept]["neurons"] == neurons.count(concept)
    assert {"pos", "probability", "suppress own", "amplify random"} <= set(concepts["columns"])
    last = tracked.history(1)[-1]
    figures = {key.split("/")[1].split(".")[0] for key in last if key.startswith("figures/")}
    assert figures == {path.stem for path in (tracked.run_dir / "figures").glob("*.png")} != set()
    for name in figures:
        (image,) = tracked.cwd.glob(f"wandb/offline-*/files/{last[f'figures/{name}.path']}")
        assert image.read_bytes() == (tracked.run_dir / "figures" / f"{name}.png").read_bytes()
    assert sum(last["histograms/neurons.values"]) == len(GROUPS)
    logged = {
        key: value
        for record in of_kind(tracked.parts[1], "summary")
        for key, value in values(record.update).items()
    }
    summary = json.loads((tracked.run_dir / "summary.json").read_text())
    assert logged["counts/prompts"] == summary["counts"]["prompts"]
    assert logged["completeness/p95"] == summary["completeness"]["p95"]
    own = summary["changes"]["suppress"]["own"]
    assert logged["changes/suppress/own/median"] == own["median"]


@pytest.mark.slow
def test_artifact_is_the_run_folder_with_settings_that_may_be_shown(tracked: Tracked) -> None:
    kept = tracked.artifact()
    own = {p.relative_to(tracked.run_dir).as_posix() for p in tracked.run_dir.rglob("*.*")}
    own -= set(FOREIGN)
    assert kept.keys() - {"concepts.table.json"} == own
    for name in own - {"config.yaml"}:
        copy = tracked.cwd / kept[name].local_path
        assert copy.read_bytes() == (tracked.run_dir / name).read_bytes()
    settings = yaml.safe_load((tracked.cwd / kept["config.yaml"].local_path).read_text())
    assert settings["model"]["encoder"] == "bert"
    assert settings["refine"]["threshold"] == 0.2


@pytest.mark.slow
def test_nothing_that_is_logged_names_the_machine_its_folders_or_its_user(
    tracked: Tracked, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for part in tracked.parts:
        assert of_kind(part, "environment") == of_kind(part, "output_raw") == []
        assert [run.host for run in of_kind(part, "run")] == [""]
    logged = [str(record).encode() for part in tracked.parts for record in part]
    logged += [p.read_bytes() for p in tracked.cwd.glob("wandb/*/files/**/*.*")]
    logged += [p.read_bytes() for p in tracked.cwd.glob("wandb/artifacts/**/*") if p.is_file()]
    assert len(logged) > 50
    folders = (tmp_path_factory.getbasetemp(), Path.home(), REPOSITORY, tracked.cwd)
    for secret in (*map(str, folders), HOST, *SECRETS.values()):
        assert [text for text in logged if secret.encode() in text] == [], secret
    # No other absolute path either: those of Linux and macOS begin so.
    path = re.compile(rb"[\"' ](/home/|/root/|/Users/|/tmp/|/var/|/private/)")
    assert [path.search(text) for text in logged if path.search(text)] == []


def test_a_logger_without_its_library_is_one_line(tmp_path: Path) -> None:
    loggers = "lightning.fabric.loggers.tensorboard"
    config = REPOSITORY / "configs" / "logger" / "tensorboard.yaml"
    with (
        mock.patch(f"{loggers}._TENSORBOARD_AVAILABLE", False),
        mock.patch(f"{loggers}._TENSORBOARDX_AVAILABLE", False),
    ):
        done = command("analyze.py", "--config", config, "--run_dir", tmp_path / "run")
    assert done.code == 2
    (line,) = done.err.strip().splitlines()
    assert "tensorboard" in line
    assert "pip install" in line
    assert not (tmp_path / "run").exists()


OTHERS = ("TensorBoardLogger", "CSVLogger")


@pytest.mark.skipif(sys.platform != "linux", reason="nobody, root included, writes into /proc")
@pytest.mark.parametrize("name", OTHERS)
def test_logger_that_cannot_begin_is_a_warning_and_the_study_ends_well(
    tmp_path: Path, name: str
) -> None:
    flags = ("--trainer.logger", name, "--trainer.logger.save_dir", "/proc/x")
    run = tmp_path / "run"
    with no_report(), pytest.warns(UserWarning, match=rf"{name} is lost .* results are in {run}"):
        done = command("analyze.py", "--data.max_groups", 1, "--run_dir", run, *flags)
    assert done.code == 0, done.err
    assert (run / "neurons.parquet").exists()


@pytest.mark.parametrize("name", [*OTHERS, "WandbLogger"])
def test_bad_data_leave_nothing_of_a_logger(tmp_path: Path, name: str) -> None:
    flags: tuple[object, ...] = ("--trainer.logger", name, "--trainer.logger.save_dir", "logs")
    if name == "WandbLogger":
        flags = OFFLINE
    data = ("--data", "JsonlPrompts", "--data.path", "none.jsonl")
    done = command("analyze.py", *data, "--run_dir", "run", *flags, cwd=tmp_path)
    assert done.code == 2
    assert "none.jsonl: No such file" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("environment.json", "holds another study"),
        ("notes.txt", "is not empty and holds no run"),
        (".lock", "is being written by another process"),
    ],
)
def test_a_run_folder_that_is_refused_leaves_nothing_of_wandb(
    tmp_path: Path, file: str, said: str
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / file).write_text('{"identity": {}}')
    study = ("--data.max_groups", 1, "--run_dir", run)
    with FileLock(run / ".lock") if file == ".lock" else nullcontext():
        done = command("analyze.py", *study, *OFFLINE, cwd=tmp_path)
    assert done.code == 2
    assert said in done.err
    assert list(tmp_path.iterdir()) == [run]


@pytest.mark.slow
def test_callbacks_of_a_users_own_find_the_loggers_in_their_setup(tmp_path: Path) -> None:
    flags = ("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", tmp_path / "logs")
    own = ("--trainer.callbacks", "DeviceStatsMonitor")  # which refuses a trainer without any
    run = ("--data.max_groups", 1, "--run_dir", tmp_path / "run")
    done = command("analyze.py", *run, *flags, *own)
    assert done.code == 0, done.err
    assert list((tmp_path / "logs").rglob("metrics.csv"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["environment", "flag"])
def test_disabled_tracking_leaves_nothing_behind(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    flags = ["--trainer.logger", "WandbLogger"]
    if how == "flag":
        flags += ["--trainer.logger.mode", "disabled"]
    else:
        monkeypatch.setenv("WANDB_MODE", "disabled")
    with mock.patch("kn_lightning.tracking.read_results"), no_report():
        done = command(
            "analyze.py",
            "--data.max_groups",
            1,
            "--run_dir",
            tmp_path / "run",
            *flags,
            cwd=tmp_path,
        )
    assert done.code == 0, done.err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not (tmp_path / "run" / RUN_ID).exists()


@pytest.mark.slow
def test_run_without_a_logger_never_imports_wandb(tmp_path: Path) -> None:
    stub = tmp_path / "stub"
    stub.mkdir()
    marker = tmp_path / "imported"
    (stub / "wandb.py").write_text(f"open({str(marker)!r}, 'w').close()\nraise ImportError\n")
    done = real_command(
        *("analyze.py", "--data.max_groups", 1, "--run_dir", tmp_path / "run"), PYTHONPATH=str(stub)
    )
    assert done.code == 0, done.err
    assert not marker.exists()
    assert (tmp_path / "run" / "report.html").exists()


def test_wandb_without_an_account_is_one_line_and_the_users_own_settings_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}

    def refuse(**_: object) -> None:
        seen.update(os.environ)
        raise wandb.Error("no key")

    monkeypatch.setattr(wandb, "init", refuse)
    monkeypatch.setenv("WANDB_QUIET", "false")
    flags = ("--trainer.logger", "WandbLogger", "--run_dir", tmp_path / "run")
    done = command("analyze.py", *flags, cwd=tmp_path)
    assert done.code == 2
    (line,) = done.err.strip().splitlines()
    assert line.startswith("error: trainer.logger: W&B: no key")
    assert list(tmp_path.iterdir()) == []
    # What the offline file can't show: it's asked for on the way to the server.
    assert (seen["WANDB_CONSOLE"], seen["WANDB_PROGRAM"]) == ("off", "analyze.py")
    assert seen["WANDB_QUIET"] == "false"


def outcome(total: list[list[float]], residual: list[list[float]], falls: list[bool]) -> Outcome:
    """A pack of as many prompts as rows, one evaluation a layer; own answers fall or rise."""
    kinds = ["related"] * len(falls) + ["other", "related"]
    edits = pa.table(
        {
            "edit": ["suppress"] * (len(falls) + 1) + ["amplify"],
            "neurons": ["knowledge"] * len(kinds),
            "prompt_kind": kinds,
            "n_neurons": [3] * len(kinds),
            "probability_before": [0.5] * len(kinds),
            "probability_after": [0.4 if fall else 0.6 for fall in falls] + [0.1, 0.1],
        }
    )
    attribution = SimpleNamespace(
        total=torch.tensor(total),
        residual=torch.tensor(residual),
        evaluations=torch.ones(len(total), len(total[0]), dtype=torch.int32),
    )
    return Outcome(cast("Any", None), cast("Any", attribution), edits=edits)


def test_window_is_over_all_its_packs_and_leaves_out_what_is_undefined() -> None:
    window = Window()
    window.add(outcome([[2.0, -4.0], [0.0, 0.0]], [[0.1, -0.4], [0.3, 0.3]], [True, True]))
    window.add(outcome([[1.0, 1.0]], [[0.0, 0.02]], [True, False]))
    assert window.metrics() == {
        "attribution/evaluations_per_prompt": 2.0,
        "completeness/largest_relative_residual": pytest.approx(0.1),
        "completeness/mean_relative_residual": pytest.approx((0.025 + 0.1 + 0.0 + 0.02) / 4),
        "edits/own_falls_under_suppression": 0.75,
    }
    incomplete = Window(complete=False)  # whose residuals are no errors
    incomplete.add(outcome([[1.0, 1.0]], [[0.0, 0.02]], []))
    assert incomplete.metrics() == {"attribution/evaluations_per_prompt": 2.0}
    nothing = Window()
    nothing.add(outcome([[0.0, 0.0]], [[0.0, 0.0]], []))
    assert nothing.metrics() == {"attribution/evaluations_per_prompt": 2.0}


@pytest.mark.parametrize(("loggers", "first"), [([], True), ([mock.Mock()], False)])
def test_without_logger_or_on_another_rank_nothing_is_looked_at(
    loggers: list[Any], first: bool
) -> None:
    trainer = cast("Any", SimpleNamespace(loggers=loggers, is_global_zero=first, callbacks=[]))
    callback = TrackCallback()
    callback.begin(trainer, mock.Mock(spec_set=["folder", "overwrite", "refuse_others"]), {})
    nothing = cast("Any", None)
    for opening in trainer.callbacks:
        opening.setup(trainer, nothing, "predict")
    assert trainer.loggers == loggers
    callback.setup(trainer, nothing, "predict")
    callback.on_predict_start(trainer, nothing)
    callback.on_predict_batch_end(trainer, nothing, nothing)
    callback.on_predict_end(trainer, nothing)
    assert [logger.mock_calls for logger in loggers] == [[]] * len(loggers)


@pytest.mark.parametrize("interval", [-1.0, float("nan")])
def test_interval_is_a_time(interval: float) -> None:
    with pytest.raises(InputError, match="track.interval"):
        TrackCallback(interval)
