"""An edited encoder on disk: the edit and nothing else, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from callbacks.commands import analyze, command, table
from encoders.tiny import fingerprint, tiny_model
from safetensors.torch import load_file

from kn_lightning import load_encoder
from kn_lightning.core.weights import Erase, Update
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError

PROMPTS = {
    "kitten": ["[MASK] will grow up to be a cat.", "the young of a cat is a [MASK]."],
    "puppy": ["a [MASK] is small.", "[MASK] will become a dog."],
    "rome": ["the capital of italy is [MASK]."],
}


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as transformers saves it."""
    path = tmp_path_factory.mktemp("encoder") / "bert"
    model, tokenizer = tiny_model("bert")
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def run(encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of it with updates."""
    folder = tmp_path_factory.mktemp("run")
    lines = (json.dumps({"concept": name, "prompts": own}) for name, own in PROMPTS.items())
    (folder / "own.jsonl").write_text("\n".join(lines))
    data = ("--data", "JsonlPrompts", "--data.path", folder / "own.jsonl")
    few = ("--edit.weights", "[update]", "--edit.control_seeds", 0, "--edit.others", 1)
    return analyze(folder / "run", "--model.encoder", encoder_folder, *data, *few)


def neurons(run: Path, concept: str) -> list[tuple[int, int]]:
    rows: list[dict[str, Any]] = table(run, "neurons")
    return [(row["layer"], row["neuron"]) for row in rows if row["concept"] == concept]


def edit(run: Path, folder: Path, *flags: object) -> Encoder:
    done = command("analyze.py", "edit", run, folder, *flags)
    assert (done.code, done.err) == (0, "")
    assert str(folder) in done.out
    return load_encoder(folder)


def weights(encoder: Encoder) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_folder_holds_the_encoder_with_the_concepts_neurons_erased(
    run: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    saved = edit(
        run, tmp_path / "new" / "erased", "--concepts", "kitten", "rome", "--weights", "erase_zero"
    )
    original = load_encoder(encoder_folder)
    assert neurons(run, "kitten") != neurons(run, "rome")
    with original.weights_edited([*neurons(run, "kitten"), *neurons(run, "rome")], Erase()):
        assert_equal(weights(saved), weights(original))
    assert saved.tokenizer.get_vocab() == original.tokenizer.get_vocab()
    files = {path.name for path in (tmp_path / "new" / "erased").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "weight_edits.json"} <= files
    assert not any(name.endswith((".bin", ".pt", ".pkl", ".tmp")) for name in files)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["erased"]
    record = json.loads((tmp_path / "new" / "erased" / "weight_edits.json").read_text())
    assert record["edit"] == "erase_zero"
    found = record["concepts"]["rome"]["neurons"]
    assert [tuple(neuron) for neuron in found] == neurons(run, "rome")
    assert str(tmp_path) not in json.dumps(record)


def test_what_was_measured_is_what_is_saved(run: Path, tmp_path: Path) -> None:
    saved = edit(run, tmp_path / "updated", "--concepts", "puppy", "--weights", "update")
    rows: list[dict[str, Any]] = table(run, "weight_edits")
    texts = {row["prompt_id"]: row["prompt"] for row in table(run, "prompts")}
    own = [r for r in rows if r["concept"] == "puppy" and r["prompt_kind"] == "related"]
    assert len(own) == 2
    for row in own:
        text = str(texts[row["prompt_id"]])
        ids = saved.tokenizer(text, return_tensors="pt").input_ids
        place = ids[0].tolist().index(saved.tokenizer.mask_token_id)
        with torch.no_grad():
            found = saved.model(input_ids=ids).logits[0, place].softmax(0)
        token = saved.tokenizer.convert_tokens_to_ids(row["target"])
        assert float(found[token]) == pytest.approx(row["target_probability_after"], abs=1e-6)
        assert row["target_probability_after"] != pytest.approx(row["target_probability_before"])


def test_given_answers_and_lambdas_are_used_one_concept_after_another(
    run: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    flags = ("--weights", "update", "--new", "wool", "milk", "--lambda_1", 0.5, "--lambda_2", 2)
    saved = edit(run, tmp_path / "two", "--concepts", "kitten", "puppy", *flags)
    original = load_encoder(encoder_folder)
    kitten, puppy, wool, milk = original.tokenizer.convert_tokens_to_ids(
        ["kitten", "puppy", "wool", "milk"]
    )
    with (
        original.weights_edited(neurons(run, "kitten"), Update(kitten, wool, 0.5, 2.0)),
        original.weights_edited(neurons(run, "puppy"), Update(puppy, milk, 0.5, 2.0)),
    ):
        assert_equal(weights(saved), weights(original))


def test_the_folder_is_an_encoder_for_a_study(run: Path, tmp_path: Path) -> None:
    edit(run, tmp_path / "erased", "--concepts", "kitten", "--weights", "erase_unk")
    data = ("--data", "JsonlPrompts", "--data.path", run.parent / "own.jsonl")
    again = analyze(tmp_path / "run", "--model.encoder", tmp_path / "erased", *data)
    before = {row["prompt_id"]: row["probability"] for row in table(run, "prompts")}
    after = {row["prompt_id"]: row["probability"] for row in table(again, "prompts")}
    assert before.keys() == after.keys()
    assert before != after


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--concepts", "wool", "--weights", "erase_zero"), ["wool", "no such concept"]),
        (("--concepts", "rome", "--weights", "forget"), ["forget", "erase_zero"]),
        (("--concepts", "rome", "rome", "--weights", "erase_zero"), ["rome rome", "once"]),
        (("--concepts", "rome", "--weights", "erase_zero", "--new", "milk"), ["--new milk"]),
        (("--concepts", "rome", "--weights", "update", "--new", "a", "b"), ["--new a b", "of 1"]),
        (("--concepts", "rome", "--weights", "update", "--new", "zyzzyva"), ["zyzzyva", "rome"]),
        (("--concepts", "rome", "--weights", "update", "--new", "rome"), ["--new rome"]),
        (("--concepts", "rome"), ["weights"]),
        (("--weights", "erase_zero"), ["concepts"]),
    ],
)
def test_bad_requests_are_one_line_and_write_nothing(
    run: Path, tmp_path: Path, flags: tuple[object, ...], words: list[str]
) -> None:
    done = command("analyze.py", "edit", run, tmp_path / "folder", *flags)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert all(word in done.err for word in words), done.err
    assert list(tmp_path.iterdir()) == []


def test_places_and_runs_that_will_not_do_are_refused(run: Path, tmp_path: Path) -> None:
    flags = ("--concepts", "rome", "--weights", "erase_zero")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    (tmp_path / "file").touch()
    for place, word in (("full", "is there already"), ("file", "is there already")):
        assert word in command("analyze.py", "edit", run, tmp_path / place, *flags).err
    line = command("analyze.py", "edit", run, tmp_path / "file" / "below", *flags).err
    assert "give another folder" in line
    assert "not a finished run" in command("analyze.py", "edit", tmp_path, "x", *flags).err
    model, tokenizer = tiny_model("bert", seed=1)
    model.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    moved = ("--model.encoder", tmp_path / "other")
    line = command("analyze.py", "edit", run, tmp_path / "new", *flags, *moved).err
    assert "is not the encoder of" in line
    assert {path.name for path in tmp_path.iterdir()} == {"full", "file", "other"}
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_saving_that_fails_leaves_nothing_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedModel

    from kn_lightning.edited_encoder import Request, write_edited

    save = PreTrainedModel.save_pretrained

    def full_disk(model: Any, folder: Path) -> None:
        save(model, folder)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full_disk)
    with pytest.raises(InputError, match="No space left"):
        write_edited(run, tmp_path / "new", Request(["rome"], "erase_zero"))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    (tmp_path / "new").mkdir()  # an empty folder will do
    write_edited(run, tmp_path / "new", Request(["rome"], "erase_zero"))
    assert load_file(tmp_path / "new" / "model.safetensors")
    assert fingerprint(load_encoder(tmp_path / "new").model)
