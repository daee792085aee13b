"""Studies go on where they were cut off, and end like undisturbed ones."""

from __future__ import annotations

import json
import pkgutil
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from callbacks.commands import analyze, command, no_report, table

from kn_lightning.encoders.loading import EMBEDDED_FOLDER
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import TABLES

STUDY = ("--data.max_groups", 5, "--data.pack_tokens", 150)
"""Five packs of one concept each."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run in one go."""
    return analyze(tmp_path_factory.mktemp("undisturbed") / "run", *STUDY)


class Interruption(Exception):
    """Something outside stops the study."""


def _after_packs(count: int) -> Iterator[None]:
    yield from [None] * count
    raise Interruption


@pytest.mark.parametrize(
    ("where", "after", "finished"),
    [
        ("callbacks.refine.RefineCallback.on_predict_batch_end", 0, 0),
        ("callbacks.edit.EditCallback.on_predict_batch_end", 2, 2),
        ("callbacks.progress.ProgressCallback.on_predict_batch_end", 2, 3),  # behind the writer
        ("callbacks.write.WriteCallback.on_predict_batch_end", 4, 4),
        ("run_folder.RunFolder.close", 0, 5),  # everything is computed, nothing joined
        ("run_folder.write_rows", 1 + 2, 5),  # two of the tables are joined
    ],
)
def test_interrupted_study_goes_on_and_ends_like_an_undisturbed_one(
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    after: int,
    finished: int,
) -> None:
    run = tmp_path / "run"
    place = f"kn_lightning.{where}"
    original = pkgutil.resolve_name(place)
    calls = _after_packs(after)

    def interrupted(*arguments: Any, **keywords: Any) -> Any:
        next(calls)
        return original(*arguments, **keywords)

    with monkeypatch.context() as patch, no_report():
        patch.setattr(place, interrupted)
        with pytest.raises(Interruption):
            command("analyze.py", *STUDY, "--run_dir", run)
    folder = RunFolder(run)
    assert len(folder.finished_packs()) == finished
    assert not folder.is_complete
    done = command("analyze.py", "report", run)
    assert done.code == 2  # a report of half a study would mislead
    assert done.err.startswith("error: ")

    predicted = mock.Mock(wraps=MaskedLanguageModel.predict_step)
    with monkeypatch.context() as patch:
        patch.setattr(MaskedLanguageModel, "predict_step", lambda *args: predicted(*args))
        analyze(run, *STUDY)
    assert predicted.call_count == 5 - finished  # what is on disk isn't computed again
    assert not folder.parts.exists()
    for name in (*TABLES, "skipped"):
        assert table(run, name) == table(undisturbed, name), name


def test_study_can_be_resumed_on_other_hardware_but_not_with_other_settings(
    undisturbed: Path,
) -> None:
    with no_report():
        for flags in [
            ("--trainer.accelerator", "cpu"),
            ("--progress.interval", 1),
            ("--model.row_tokens", 999),
        ]:
            done = command("analyze.py", *STUDY, *flags, "--run_dir", undisturbed)
            assert done.code == 0, done.err
        for flags in [("--trainer.precision", "bf16-mixed"), ("--model.tolerance", 0.1)]:
            done = command("analyze.py", *STUDY, *flags, "--run_dir", undisturbed)
            assert done.code == 2
            assert str(flags[0]).removeprefix("--") in done.err


def test_changed_data_under_the_same_path_are_another_study(tmp_path: Path) -> None:
    data = tmp_path / "own.jsonl"
    flags = ("--data", "JsonlPrompts", "--data.path", data)
    data.write_text('{"concept": "kitten", "prompts": ["a [MASK] is a young cat."]}\n')
    run = analyze(tmp_path / "run", *flags)
    data.write_text('{"concept": "kitten", "prompts": ["the [MASK] is a young cat."]}\n')
    done = command("analyze.py", *flags, "--run_dir", run)
    assert done.code == 2
    assert "data.sha256" in done.err


def _stopped(run: Path, *flags: object) -> None:
    """A study with its first pack on disk."""
    with no_report():
        done = command("analyze.py", *flags, "--run_dir", run, "--trainer.limit_predict_batches", 1)
    assert (done.code, len(RunFolder(run).finished_packs())) == (2, 1)


def _with_other_heads(encoder: Path) -> None:
    """Its weights stay, and what they give doesn't."""
    config = json.loads((encoder / "config.json").read_text())
    config["num_attention_heads"] //= 2
    (encoder / "config.json").write_text(json.dumps(config))


def _with_other_tokens(encoder: Path) -> None:
    tokenizer = json.loads((encoder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["the"], vocabulary["a"] = vocabulary["a"], vocabulary["the"]
    (encoder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "key"),
    [(_with_other_heads, "encoder.config_sha256"), (_with_other_tokens, "encoder.tokens_sha256")],
)
def test_encoder_that_was_changed_in_its_folder_is_another_study(
    tmp_path: Path, change: Callable[[Path], None], key: str
) -> None:
    encoder = tmp_path / "encoder"
    shutil.copytree(EMBEDDED_FOLDER, encoder)
    flags = (*STUDY, "--model.encoder", encoder)
    _stopped(tmp_path / "run", *flags)
    change(encoder)
    done = command("analyze.py", *flags, "--run_dir", tmp_path / "run")
    assert done.code == 2
    assert f"holds another study; it differs in {key} (" in done.err


def test_changed_unrelated_prompts_are_another_study(tmp_path: Path) -> None:
    """Though they lie behind the groups that are studied."""
    data = tmp_path / "own.jsonl"
    lines = [
        {"concept": "kitten", "prompts": ["a [MASK] is a young cat."]},
        {"concept": "puppy", "prompts": ["a [MASK] is a young dog."]},
        {"concept": "london", "prompts": ["[MASK] is a city."]},
    ]
    flags = ("--data", "JsonlPrompts", "--data.path", data, "--data.max_groups", 2)
    flags += ("--data.pack_tokens", 1)
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    _stopped(tmp_path / "run", *flags)
    lines[2]["prompts"] = ["[MASK] is a large city."]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = command("analyze.py", *flags, "--run_dir", tmp_path / "run")
    assert done.code == 2
    assert "holds another study; it differs in encoder.tokens_sha256 (" in done.err
