"""Flags and config files of ``analyze.py``, and how wrong ones are refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from callbacks.commands import (
    command,
    no_report,
    real_command,
    refused,
)


def test_help_and_print_config_show_every_flag_of_the_contract() -> None:
    done = command("analyze.py", "--help")
    assert done.code == 0
    flags = "model.encoder model.answers model.rule model.nodes model.tolerance model.path"
    flags += " model.attribution model.compare refine.threshold refine.share refine.inclusive"
    flags += " edit.factors edit.unrelated edit.others edit.control_seeds edit.holdout edit.top"
    flags += " edit.weights edit.lambda_1 edit.lambda_2 write.scores trainer.precision run_dir"
    flags += " config data"
    for flag in flags.split():
        assert f"--{flag}" in done.out, flag
    done = command("analyze.py", "--print_config")
    assert done.code == 0
    config = yaml.safe_load(done.out)
    assert config["model"]["encoder"] == "embedded"
    assert config["model"]["answers"] == "single"
    assert config["model"]["rule"] == "adaptive"
    assert config["model"]["tolerance"] == 0.001
    refine = {"threshold": 0.2, "share": 0.5, "inclusive": True}
    assert config["refine"] == refine | {
        "size": None,
        "neurons": None,
        "facts": None,
        "values": None,
    }
    edit = {"factors": [0.0, 2.0], "unrelated": "london", "others": 8, "control_seeds": 3}
    edit |= {"unrelated_prompts": None, "controls": ["activation", "foreign"], "max_prompts": None}
    edit |= {"weights": None, "lambda_1": 1.0, "lambda_2": 8.0}
    assert config["edit"] == edit | {"holdout": 0.0, "top": None, "seed": 0}
    assert config["trainer"]["inference_mode"] is False


def test_printed_config_is_accepted_as_a_config(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(command("analyze.py", "--print_config").out)
    again = command("analyze.py", "--config", file, "--print_config")
    assert again.code == 0, again.err
    assert yaml.safe_load(again.out) == yaml.safe_load(file.read_text())


@pytest.mark.slow
def test_hub_id_without_a_network_is_one_line(tmp_path: Path) -> None:
    unreached = {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(tmp_path / "hub")}
    online = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}
    flags = ("--model.encoder", "no-such/encoder", "--run_dir", tmp_path / "run")
    done = real_command("analyze.py", *flags, **unreached, **online)
    refused(done, "model.encoder no-such/encoder", "127.0.0.1:1", "check the id and the network")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("script", ["analyze.py", "train.py"])
def test_empty_section_of_a_config_sets_nothing(script: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"

    def printed(content: str) -> dict[str, Any]:
        file.write_text(content)
        done = command(script, "--config", file, "--print_config")
        assert done.code == 0, (content, done.err)
        config: dict[str, Any] = yaml.safe_load(done.out)
        return config

    unset = printed("model: {}")
    sections = [key for key, value in unset.items() if isinstance(value, dict)]
    assert len(sections) >= 5
    for section in sections:
        assert printed(f"{section}:\n") == unset  # alone in its file
        assert printed(f"{section}:\n  # none: 1\nseed_everything: 0\n") == unset
    assert printed("".join(f"{section}:\n" for section in sections)) == unset
    assert printed(f"{{{', '.join(sections)}}}") == unset
    assert printed("model: &same\ndata: *same\ntrainer: null\n") == unset
    assert printed("data:\n  class_path: EmbeddedPrompts\n  init_args:\n") == unset


def test_config_with_an_empty_section_keeps_its_other_values(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "refine:\ndata: {class_path: JsonlPrompts, init_args: {path: a, tag_pos: off}}\n"
        "edit: {lambda_1: 1e-3, top: null}\n"
    )
    done = command("analyze.py", "--config", file, "--refine.share", 0.7, "--print_config")
    config = yaml.safe_load(done.out)
    assert config["data"]["init_args"]["path"] == "a"
    assert config["data"]["init_args"]["tag_pos"] is False
    assert (config["edit"]["lambda_1"], config["edit"]["top"]) == (1e-3, None)
    assert config["refine"]["share"] == 0.7


def test_later_config_wins_and_flags_behind_it_win_over_both(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("refine: {threshold: 0.3, share: 0.7}\nedit: {others: 5}\n")
    two.write_text("refine: {threshold: 0.4}\n")

    def settings(*arguments: object) -> dict[str, Any]:
        done = command("analyze.py", *arguments, "--print_config")
        assert done.code == 0, done.err
        config: dict[str, Any] = yaml.safe_load(done.out)
        return config

    forward = settings("--config", one, "--config", two)
    assert (forward["refine"]["threshold"], forward["refine"]["share"]) == (0.4, 0.7)
    assert forward["edit"]["others"] == 5
    assert settings("--config", two, "--config", one)["refine"]["threshold"] == 0.3
    flag = settings("--config", one, "--config", two, "--refine.threshold", 0.6)
    assert flag["refine"]["threshold"] == 0.6


def test_every_quadrature_rule_is_a_flag() -> None:
    rules = "adaptive gauss_legendre gauss_lobatto trapezoid linspace"
    rules += " riemann_left riemann_right riemann_midpoint"
    line = refused(command("analyze.py", "--model.rule", "simpson"), "simpson")
    for rule in rules.split():
        assert rule in line


@pytest.mark.slow
def test_bad_input_in_a_real_process_is_exit_code_2_and_one_line() -> None:
    done = real_command("analyze.py", "--refine.threshold", "2")
    refused(done, "refine.threshold", "2")
    assert done.out == ""


@pytest.mark.filterwarnings("ignore")  # Lightning's own: workers, LeafSpec
def test_trainer_in_inference_mode_is_told_what_to_change(tmp_path: Path) -> None:
    from lightning import Trainer

    from kn_lightning.data.sources import EmbeddedPrompts
    from kn_lightning.module import MaskedLanguageModel

    trainer = Trainer(
        inference_mode=True,
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    with pytest.raises(RuntimeError, match=r"Trainer\(inference_mode=False\)"):
        trainer.predict(MaskedLanguageModel(), datamodule=EmbeddedPrompts(max_groups=1))


def test_unknown_unrelated_concept_is_refused_not_replaced(tmp_path: Path) -> None:
    flags = ["--data.max_groups", 2, "--edit.unrelated", "nonsense", "--run_dir", tmp_path / "run"]
    refused(command("analyze.py", *flags), "nonsense")


def test_gpu_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with mock.patch("torch.cuda.device_count", return_value=0):
        flags = ("--trainer.accelerator", "gpu", "--run_dir", tmp_path / "run")
        refused(command("analyze.py", *flags), "gpu")
    assert not (tmp_path / "run").exists()


SLURM = {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "study"}
PLACED = {**SLURM, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
TORCHRUN = {
    **{"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "x"},
    **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"},
}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (SLURM, ("SLURM_NTASKS 2", "--ntasks-per-node", "unset")),
        ({**PLACED, "SLURM_NTASKS_PER_NODE": "4"}, ("trainer.devices 2", "--ntasks-per-node=4")),
        (TORCHRUN, ("trainer.devices 2", "world size (1)", "torchrun", "without")),
    ],
)
@pytest.mark.parametrize("script", ["analyze.py", "train.py"])
def test_processes_that_do_not_fit_the_trainer_are_one_line(
    script: str, environment: dict[str, str], words: tuple[str, ...], tmp_path: Path
) -> None:
    flags = ("--trainer.devices", 2, "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu")
    folder = ("--run_dir", "run") if script == "analyze.py" else ("--export.folder", "encoder")
    with mock.patch.dict(os.environ, environment):
        refused(command(script, *flags, *folder, cwd=tmp_path), *words)
    assert not list(tmp_path.iterdir())


def test_runtime_error_in_the_making_of_a_trainer_is_no_bad_input_else(tmp_path: Path) -> None:
    with (
        mock.patch.dict(os.environ, SLURM),
        mock.patch("lightning.pytorch.cli.LightningCLI.instantiate_trainer") as make,
    ):
        make.side_effect = RuntimeError("CUDA error")
        with pytest.raises(RuntimeError, match="CUDA error"):
            command("analyze.py", "--run_dir", tmp_path / "run")


def test_without_run_dir_each_study_has_a_folder_of_its_own(tmp_path: Path) -> None:
    with no_report():
        for share in (0.5, 0.5, 1.0):
            arguments = ("--data.max_groups", 1, "--refine.share", share)
            assert command("analyze.py", *arguments, cwd=tmp_path).code == 0
    folders = list((tmp_path / "runs").iterdir())
    assert len(folders) == 2
    assert all("embedded" in folder.name for folder in folders)
