"""The commands of the README and the docs run, as small as can be; why the others don't is said."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from callbacks.commands import REPOSITORY, Finished, command, write_jsonl

from kn_lightning.encoders.loading import EMBEDDED_FOLDER

from .test_code_blocks import FENCE, NOT_OURS, SHELL, blocks, commands

STUDY = "--model.rule gauss_legendre --model.nodes 3 --edit.control_seeds 1 --edit.others 1"
FEW = f"{STUDY} --data.max_groups 2"
TRAINING = "--trainer.max_epochs 1 --trainer.limit_train_batches 2 --trainer.limit_val_batches 1"
FOLLOWED = f"{TRAINING} --formation.max_groups 2 --model.rule gauss_legendre --model.nodes 3"
HERE = "--model.encoder embedded"
"""In place of a model of the Hub."""
LAMA = f"{HERE} --data.path lama.jsonl --trainer.accelerator cpu --trainer.devices 1"
FRAMES = ("a {} is a young {}.", "every {} becomes a {}.", "a {} is a small {}.", "no {} is a {}.")
"""Sentences of the little LAMA and ParaRel that stand for those that are downloaded."""
PARAREL = "python analyze.py --config configs/pararel.yaml --run_dir runs/pararel"

RUN = {
    "python analyze.py --help": "",
    "python analyze.py": f"{STUDY} --data.concepts [kitten,puppy] --run_dir RUN_DIR",
    "python analyze.py report RUN_DIR": "",
    "python analyze.py neurons RUN_DIR FILE": "",
    "python analyze.py edit RUN_DIR FOLDER --concepts kitten puppy --weights erase_zero": "",
    "python analyze.py --model.encoder bert-base-uncased --data JsonlPrompts --data.path"
    " prompts.jsonl": f"{FEW} {HERE}",
    "python analyze.py --config configs/concept_neurons.yaml": LAMA,
    "python analyze.py --config configs/concept_neurons.yaml --run_dir runs/paper": LAMA,
    "python analyze.py --config configs/compat/concept_neurons_code.yaml": f"{LAMA}"
    " --edit.unrelated puppy --edit.unrelated_prompts null",
    f"{PARAREL} --trainer.devices 1": HERE,
    "python analyze.py --data LamaPrompts --data.max_groups 600 --run_dir subjects": LAMA,
    "python analyze.py --data LamaPrompts --data.max_groups 600 --data.mask object --run_dir"
    " objects": LAMA,
    "python analyze.py synonyms subjects --output synonyms.csv": "--pairs pairs.txt",
    "python analyze.py synonyms RUN_DIR": "--pairs pairs.txt",
    "python analyze.py symmetry subjects objects --output symmetry.csv": "",
    "python analyze.py symmetry RUN_A RUN_B": "",
    "python analyze.py --config configs/logger/wandb.yaml --trainer.logger.offline true": FEW,
    "python train.py": TRAINING,
    "python train.py --model.encoder bert-base-uncased --data TextLines --data.path corpus.txt"
    " --export.folder tuned": f"{TRAINING} {HERE}",
    "python analyze.py --model.encoder tuned": FEW,
    "python train.py --formation.every 50": f"{FOLLOWED} --formation.folder every",
    "python train.py --formation.every 50 --formation.folder formation": FOLLOWED,
    "python analyze.py formation FOLDER --encoders step0 step500 step1000": "--formation.max_groups"
    " 2 --model.rule gauss_legendre --model.nodes 3",
    "python analyze.py formation TRACKED --encoders step0 step500 --config"
    " configs/logger/wandb.yaml --trainer.logger.offline true": "--formation.max_groups 2"
    " --model.rule gauss_legendre --model.nodes 3",
    "python analyze.py report FOLDER": "",
    "python analyze.py --trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp": FEW,
}
"""Commands of bash blocks, and those in the README's sentences, in an order in which each finds
what it needs; with what is added to make them small."""
PARSED = {
    f"{PARAREL} --trainer.devices 8": "eight GPUs",
    "python analyze.py --config configs/logger/wandb.yaml": "W&B is online",
    "torchrun ": "two nodes of GPUs",
    "srun ": "a cluster",
}
"""How commands begin that are parsed alone (test_code_blocks.py), and why."""


def in_sentences() -> set[str]:
    """Commands of the README that stand in no block."""
    text = FENCE.sub("", (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    return set(re.findall(r"`(python (?:analyze|train)\.py[^`]*)`", text))


def test_every_command_is_run_or_said_not_to_be() -> None:
    lines = {line for _, line in commands() if not SHELL.match(line)} | in_sentences()
    left = {line for line in lines - RUN.keys() if line.split()[0] not in NOT_OURS}
    assert RUN.keys() <= lines
    for line in left:
        assert any(map(line.startswith, PARSED)), f"nothing runs {line!r}, and nothing says why"
    for start in PARSED:
        assert any(line.startswith(start) for line in left), start


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder in which the commands find what they name."""
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    for step in (0, 500, 1000):
        (tmp_path / f"step{step}").symlink_to(EMBEDDED_FOLDER)
    ((_, prompts),) = blocks("json")[:1]
    (tmp_path / "prompts.jsonl").write_text(prompts, encoding="utf-8")
    (tmp_path / "corpus.txt").write_text("every cat was once a kitten.\n" * 20, encoding="utf-8")
    facts = [("kitten", "cat"), ("puppy", "dog"), ("lamb", "sheep"), ("calf", "cow")]
    for name, folder in (("RUN_A", "subjects"), ("RUN_B", "objects")):
        (tmp_path / name).symlink_to(tmp_path / folder)  # which a command makes
    (tmp_path / "pairs.txt").write_text("kitten\tpuppy\nlamb\tcalf\n", encoding="utf-8")
    records = [
        {"sub": young, "obj_label": old, "pred": "IsA", "masked_sentences": [text]}
        for young, old in facts
        for text in (frame.format(young, "[MASK]") for frame in FRAMES)
    ]
    write_jsonl(tmp_path / "lama.jsonl", *records)
    for folder, rows in (
        ("pattern_data/graphs_json", [{"pattern": frame.format("[Y]", "[X]")} for frame in FRAMES]),
        ("trex_lms_vocab", [{"sub_label": old, "obj_label": young} for young, old in facts]),
    ):
        (tmp_path / "pararel" / folder).mkdir(parents=True)
        write_jsonl(tmp_path / "pararel" / folder / "P1.jsonl", *rows)
    return tmp_path


def run(line: str, place: Path) -> Finished:
    """A command with what makes it small; with more than one process in one of its own."""
    _, script, *given = shlex.split(f"{line} {RUN[line]}")
    if given[:1] == ["edit"]:
        given = [word.replace("FOLDER", "edited") for word in given]
    if "ddp" not in given:
        return command(script, *given, cwd=place)
    done = subprocess.run(
        [sys.executable, REPOSITORY / script, *given],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
def test_commands_run_one_after_another(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    for line in RUN:
        done = run(line, place)
        assert done.code == 0, (line, done.err)
        assert "Traceback" not in done.err, line
        said = re.findall(r"^(?:results|report|encoder|neurons): +(.+)$", done.out, re.MULTILINE)
        assert said or {"--help", "synonyms", "symmetry"} & {*line.split()}, (line, done.out)
        assert done.out, line
        for path in said:
            assert (place / path).exists(), (line, path)
