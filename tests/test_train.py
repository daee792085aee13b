"""``python train.py``: encoders trained on prompts or text, and the one that the package ships."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import yaml
from callbacks.commands import Finished, analyze, command, refused, table, write_jsonl
from encoders.tiny import tiny_model
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from kn_lightning.data.facts import embedded_groups, held_out_prompts
from kn_lightning.encoders.loading import EMBEDDED_FOLDER
from kn_lightning.module import MaskedLanguageModel

QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false")
Weights = dict[str, torch.Tensor]
Train = Callable[..., tuple[Finished, Path]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder in a folder."""
    path = tmp_path_factory.mktemp("tiny") / "encoder"
    # Sixteen hidden units with dropout learn next to nothing.
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model, tokenizer = tiny_model("bert", **still)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Three facts that the shipped encoder was never told, eight wordings each."""
    frames = "[MASK] is {}. {} is [MASK]. the {} was [MASK]. a [MASK] was {}. in the {} a [MASK]."
    frames += " [MASK] of the {}. {} of the [MASK]. every {} was once a [MASK]."
    facts = {"kitten": "stone", "puppy": "water", "lamb": "fire"}
    return write_jsonl(
        tmp_path / "facts.jsonl",
        *(
            {
                "concept": concept,
                "prompts": [f"{text}." for text in frames.format(*[cue] * 8)[:-1].split(". ")],
            }
            for concept, cue in facts.items()
        ),
    )


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """``train(flags...)``: how the command ended, and the exported folder."""
    count = iter(range(100))

    def run(*flags: object) -> tuple[Finished, Path]:
        folder = tmp_path / f"exported {next(count)}"
        done = command("train.py", *QUIET, *flags, "--export.folder", folder, cwd=tmp_path)
        return done, folder

    return run


def weights(folder: Path) -> Weights:
    """All tensors of an exported encoder."""
    return load_file(folder / "model.safetensors")


def same(one: Weights, other: Weights) -> bool:
    """Whether two encoders are equal to the last bit."""
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def metric(done: Finished, name: str) -> float:
    """A metric that the command printed."""
    (line,) = (line for line in done.out.splitlines() if line.startswith(f"{name}: "))
    return float(line.split()[1])


FEW = ("--trainer.max_epochs", 15, "--trainer.check_val_every_n_epoch", 5)


def test_encoder_in_a_folder_learns_new_facts_of_a_file_and_can_be_studied(
    prompts: Path, train: Train, tmp_path: Path
) -> None:
    data = ("--data", "JsonlPrompts", "--data.path", prompts)
    flags = ("--model.encoder", EMBEDDED_FOLDER, *data, "--data.batch_size", 6)
    rate = ("--model.learning_rate", 0.001, "--model.warmup_steps", 0)
    done, exported = train(*flags, *rate, *FEW)
    assert done.code == 0, done.err
    assert f"encoder: {exported}" in done.out
    # The validation prompts, one of each fact, are learnt from the other seven.
    assert metric(done, "val_accuracy") == 1.0
    assert metric(done, "val_perplexity") < 1.6

    first = []
    for encoder in (EMBEDDED_FOLDER, exported):
        run = analyze(tmp_path / f"run {encoder.name}", "--model.encoder", encoder, *data)
        rows = table(run, "prompts")
        assert len(rows) == 24
        first.append(sum(row["rank"] == 1 for row in rows))
    assert first[0] < 12
    assert first[1] >= 20


def test_encoder_learns_from_plain_text(tiny: Path, train: Train, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("the capital of france is paris.\nevery cat was once a kitten.\n" * 40)
    flags = ("--data", "TextLines", "--data.path", text, "--data.batch_size", 8)
    rate = ("--model.learning_rate", 0.01, "--model.warmup_steps", 0, "--model.encoder", tiny)
    losses = []
    for epochs in (1, 40):
        length = ("--trainer.max_epochs", epochs, "--trainer.check_val_every_n_epoch", epochs)
        done, exported = train(*flags, *rate, *length, "--data.validation_share", 0.2)
        assert done.code == 0, done.err
        losses.append(metric(done, "val_loss"))
        assert not same(weights(exported), weights(tiny))
    assert losses[1] < losses[0] / 2


@pytest.mark.slow
def test_scratch_starts_the_testbeds_encoder_and_one_seed_gives_one_result(train: Train) -> None:
    flags = ("--trainer.max_epochs", 1, "--trainer.limit_train_batches", 4)
    flags += ("--trainer.limit_val_batches", 1, "--model.warmup_steps", 1)
    runs = [train(*flags, "--seed_everything", seed) for seed in (3, 3, 4)]
    for done, exported in runs:
        assert done.code == 0, done.err
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
            path.name for path in exported.iterdir()
        }
    first, again, other = (weights(exported) for _, exported in runs)
    assert same(first, again)
    assert not same(first, other)
    shipped = weights(EMBEDDED_FOLDER)
    assert {n: t.shape for n, t in first.items()} == {n: t.shape for n, t in shipped.items()}
    tokenizers = [AutoTokenizer.from_pretrained(f) for f in (runs[0][1], EMBEDDED_FOLDER)]
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab()


def test_default_config_trains_the_embedded_encoder_from_scratch() -> None:
    done = command("train.py", "--print_config")
    assert done.code == 0
    config = yaml.safe_load(done.out)
    assert config["model"]["encoder"] == "scratch"
    assert config["data"]["class_path"].endswith("EmbeddedPrompts")
    assert isinstance(config["seed_everything"], int)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model.learning_rate", -1], ["model.learning_rate", "-1"]),
        (["--data", "TextLines", "--data.path", "none.txt"], ["none.txt"]),
        (["--data", "JsonlPrompts", "--data.path", "none.jsonl"], ["none.jsonl"]),
        (["--data.batch_size", 0], ["data.batch_size", "0"]),
        (["--model.encoder", "./none"], ["./none"]),
        (["--no.such", 1], ["no.such"]),
    ],
)
def test_bad_input_is_one_line_with_the_value_and_writes_nothing(
    train: Train, tmp_path: Path, flags: list[object], words: list[str]
) -> None:
    done, exported = train(*flags)
    assert done.code == 2
    (line,) = done.err.strip().splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert not exported.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_shipped_encoder_knows_its_facts_and_not_only_its_sentences() -> None:
    # By transformers alone: the answer is the most probable of all words of the vocabulary.
    model = AutoModelForMaskedLM.from_pretrained(EMBEDDED_FOLDER).eval()
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    held_out = held_out_prompts()
    right: dict[bool, list[bool]] = {True: [], False: []}
    pairs = [(p.text, group.concept) for group in embedded_groups() for p in group.prompts]
    pairs.sort(key=lambda pair: len(pair[0]))
    for start in range(0, len(pairs), 256):
        texts, answers = zip(*pairs[start : start + 256], strict=True)
        batch = tokenizer(list(texts), padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits
        best = logits[batch["input_ids"] == tokenizer.mask_token_id].argmax(-1)
        for text, answer, token in zip(texts, answers, best.tolist(), strict=True):
            hit = tokenizer.convert_ids_to_tokens(token) == answer
            right[text in held_out].append(hit)
    trained, unseen = (sum(right[key]) / len(right[key]) for key in (False, True))
    assert len(right[True]) == len(held_out)
    assert trained >= 0.95
    assert unseen >= 0.80


def settings(*flags: object) -> dict[str, Any]:
    done = command("train.py", *flags, "--print_config")
    assert done.code == 0, done.err
    config: dict[str, Any] = yaml.safe_load(done.out)
    return config


@pytest.mark.parametrize("data", ["EmbeddedPrompts", "TextLines", "JsonlPrompts"])
def test_named_encoder_is_trained_gently_and_validated_every_epoch(data: str) -> None:
    path = [] if data == "EmbeddedPrompts" else ["--data.path", "some.file"]
    config = settings("--model.encoder", "bert-base-uncased", "--data", data, *path)
    assert config["model"]["learning_rate"] <= 5e-5
    assert config["model"]["warmup_steps"] == 0
    assert config["trainer"]["max_epochs"] <= 5
    assert config["trainer"]["check_val_every_n_epoch"] in (None, 1)
    if data == "TextLines":
        assert config["data"]["init_args"]["validation_share"] == 0.2
    assert settings()["model"]["learning_rate"] > 1e-4


@pytest.mark.parametrize("inner", ["figures", "parts/encoder"])
def test_export_among_a_runs_own_is_refused(tmp_path: Path, inner: str) -> None:
    (tmp_path / "environment.json").write_text("{}")
    folder = tmp_path / inner
    done = command("train.py", "--model.encoder", "embedded", "--export.folder", folder)
    assert done.code == 2
    assert f"export.folder {folder}: {inner.partition('/')[0]} is a name of a run's own" in done.err
    assert not folder.exists()


def test_folder_that_cannot_be_written_is_said_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "encoder"
    done = command("train.py", "--model.encoder", "embedded", "--export.folder", folder)
    assert done.code == 2
    assert str(folder) in done.err
    assert "Traceback" not in done.err


STEPS = ("--trainer.max_steps", 6, "--trainer.max_epochs", -1, "--data.batch_size", 8)


def test_training_that_diverges_exports_nothing_and_says_what_to_change(
    tiny: Path, prompts: Path, train: Train
) -> None:
    flags = (*STEPS, "--model.encoder", tiny, "--data", "JsonlPrompts", "--data.path", prompts)
    done, exported = train(*flags, "--model.learning_rate", 1e30)
    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    first = next(iter(tiny_model("bert")[0].state_dict()))
    assert line.startswith("error: the training has diverged: behind step 6 ")
    assert f" numbers of {first} are NaN or infinite" in line
    assert "lower --model.learning_rate (1e+30 now)" in line
    assert "--trainer.gradient_clip_val" in line
    assert not exported.exists()


def test_training_that_is_over_before_its_first_step_is_no_export(
    tiny: Path, prompts: Path, train: Train
) -> None:
    flags = (*STEPS, "--model.encoder", tiny, "--data", "JsonlPrompts", "--data.path", prompts)
    with mock.patch("kn_lightning.cli.check_trains"):  # as where the time is over by and by
        done, exported = train(*flags, "--trainer.max_time", "00:00:00:00")
    assert "trainer.max_time" in refused(done)
    assert done.out == ""
    assert not exported.exists()


def test_folder_that_was_there_stays_when_a_training_fails(
    tiny: Path, prompts: Path, train: Train, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    flags = (*STEPS, "--model.encoder", tiny, "--data", "JsonlPrompts", "--data.path", prompts)
    folder = ("--export.folder", tmp_path / "there" / "a" / "encoder")
    done, _ = train(*flags, "--model.learning_rate", 1e30, *folder)
    assert done.code == 1
    assert list((tmp_path / "there").iterdir()) == []


def stopped_at(step: int, do: Callable[[], None]) -> Any:
    """Within it ``do`` is called in the training step of this number, from 0."""
    training_step, numbers = MaskedLanguageModel.training_step, iter(range(99))

    def stopped(*arguments: Any) -> object:
        if next(numbers) == step:
            do()
        return training_step(*arguments)

    return mock.patch.object(MaskedLanguageModel, "training_step", stopped)


def interrupt() -> None:
    raise KeyboardInterrupt


def test_interrupted_training_says_in_one_line_what_is_there_and_what_to_do(
    tiny: Path, prompts: Path, train: Train, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGINT)
    flags = (*STEPS, "--model.encoder", tiny, "--data", "JsonlPrompts", "--data.path", prompts)
    formed = ("--formation.every", 2, "--formation.folder", "followed")
    with stopped_at(3, interrupt):
        done, exported = train(*flags, *formed)
    assert signal.getsignal(signal.SIGINT) is before
    assert (done.code, done.out) == (130, "")
    (line,) = done.err.splitlines()
    assert line == (
        f"stopped by SIGINT behind step 3; the encoder goes to {exported} only when a training"
        " ends; followed holds 2 measured steps (python analyze.py report followed draws them);"
        " the same command begins anew with another --formation.folder, or when that one is moved"
        " away"
    )
    assert {row["step"] for row in table(tmp_path / "followed", "formation")} == {0, 2}
    again, _ = train(*flags, *formed)
    assert (again.code, "followed holds a formation already" in again.err) == (2, True)
    (tmp_path / "followed").rename(tmp_path / "moved")
    again, exported = train(*flags, *formed)
    assert again.code == 0, again.err
    assert (exported / "model.safetensors").is_file()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_terminated_training_names_its_checkpoint(
    tiny: Path, prompts: Path, train: Train, tmp_path: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    flags = (*STEPS, "--model.encoder", tiny, "--data", "JsonlPrompts", "--data.path", prompts)
    saved = ("--trainer.enable_checkpointing", "true", "--trainer.callbacks", "ModelCheckpoint")
    saved += ("--trainer.callbacks.dirpath", "kept", "--trainer.callbacks.every_n_train_steps", 1)
    saved += ("--trainer.callbacks.save_last", "true")
    with stopped_at(2, lambda: os.kill(os.getpid(), number)):
        done, _ = train(*flags, *saved)
    assert signal.getsignal(number) is before
    assert done.code == 143, done.err
    (line,) = done.err.splitlines()
    assert line.startswith("stopped by SIGTERM behind step ")
    assert f"; {tmp_path / 'kept' / 'last.ckpt'} is a checkpoint for Lightning's" in line
    assert (tmp_path / "kept" / "last.ckpt").is_file()
    assert line.endswith("; the same command begins anew")
