"""What is loaded is a masked LM with all its weights; all else is refused in one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from kn_lightning import load_encoder
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError

from .tiny import ARCHITECTURES, HIDDEN, LAYERS, NEURONS, tiny_model, wordpiece_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good checkpoint of the tiny BERT; tests spoil it."""
    model, tokenizer = tiny_model("bert")
    model.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def refusal(source: object) -> str:
    """The one line that a user reads."""
    with pytest.raises(InputError) as caught:
        load_encoder(source)
    message = str(caught.value)
    assert "\n" not in message
    assert str(source) in message
    return message


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_saved_encoder_loads_with_the_same_weights_and_tokenizer(
    tmp_path: Path, name: str, encode: Callable
) -> None:
    model, tokenizer = tiny_model(name)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, original = load_encoder(tmp_path), load_encoder(model, tokenizer)
    assert loaded.name == str(tmp_path)
    assert loaded.revision is None
    prompts = encode(original)
    assert encode(loaded) == prompts
    with torch.no_grad():
        ours = loaded.logits(loaded.batch(prompts))
        assert torch.equal(ours, original.logits(original.batch(prompts)))


def test_half_precision_weights_are_computed_with_in_float32(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor.half() for name, tensor in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    encoder = load_encoder(folder)
    assert {parameter.dtype for parameter in encoder.model.parameters()} == {torch.float32}


def test_parameters_ask_for_no_gradient(bert: Encoder) -> None:
    assert not any(parameter.requires_grad for parameter in bert.model.parameters())


def test_the_embedded_encoder_loads_without_any_argument_from_outside() -> None:
    encoder = load_encoder("embedded")
    assert encoder.name == "embedded"
    assert (encoder.structure.n_layers, encoder.structure.n_neurons) == (4, 512)


def test_a_commit_of_the_hub_is_kept_as_the_revision() -> None:
    model, tokenizer = tiny_model("bert")
    model.config._commit_hash = "0123abc"
    assert load_encoder(model, tokenizer).revision == "0123abc"


def test_a_model_object_without_its_tokenizer_is_refused() -> None:
    model, _ = tiny_model("bert")
    with pytest.raises(InputError, match="tokenizer="):
        load_encoder(model)


@pytest.mark.parametrize("path", ["/no/such/folder", "./no-such-folder", "~/no-such-folder"])
def test_a_missing_folder_is_refused_by_its_name(path: str) -> None:
    assert "no such folder" in refusal(path)


def test_a_folder_has_no_revisions_but_may_have_an_at_sign_in_its_name(folder: Path) -> None:
    assert "has no revisions" in refusal(f"{folder}@step-2")
    named = folder.with_name("bert@step-2")
    folder.rename(named)
    assert load_encoder(named).name == str(named)
    shutil.copytree(named, folder)
    assert load_encoder(named).name == str(named)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path)


@pytest.mark.parametrize("head", ["BertForSequenceClassification", "BertModel"])
def test_a_checkpoint_without_a_masked_lm_head_is_refused_not_completed_at_random(
    folder: Path, head: str
) -> None:
    config = transformers.BertConfig.from_pretrained(folder)
    getattr(transformers, head)(config).save_pretrained(folder)
    assert "cls.predictions" in refusal(folder)


def test_a_checkpoint_that_lacks_one_tensor_is_refused_by_its_name(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.1.output.dense.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "bert.encoder.layer.1.output.dense.bias" in refusal(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert "safetensors" in refusal(folder)


@pytest.mark.parametrize("how", ["list of parts", "config"])
def test_pickled_weights_are_refused_whatever_names_them(folder: Path, how: str) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if how == "config":
        torch.save(weights, folder / "adapter_model.bin")
        config = json.loads((folder / "config.json").read_text())
        config["transformers_weights"] = "adapter_model.bin"
        (folder / "config.json").write_text(json.dumps(config))
    else:
        torch.save(weights, folder / "pytorch_model.bin")
        index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "pytorch_model.bin")}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    load = torch.load
    said = refusal(folder)
    assert "is pickled" in said
    assert "convert them where you trust them" in said
    assert torch.load is load


def test_a_language_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    config = transformers.GPT2Config(
        vocab_size=60, n_embd=HIDDEN, n_layer=1, n_head=2, n_positions=8
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    wordpiece_tokenizer().save_pretrained(tmp_path)
    assert "masked LM" in refusal(tmp_path)


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    assert "tokenizer" in refusal(folder)


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    model, tokenizer = tiny_model("bert")
    tokenizer.mask_token = None
    with pytest.raises(InputError, match="no mask token"):
        load_encoder(model, tokenizer)


def test_a_broken_config_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert", ')
    refusal(folder)


def test_truncated_weights_are_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refusal(folder)


def test_a_weight_that_is_no_number_is_refused_by_its_tensors_name(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "bert.encoder.layer.1.output.dense.weight"
    weights[name][2, 3:5] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert f"2 of {weights[name].numel()} numbers of {name} are NaN" in refusal(folder)


def test_weights_of_another_shape_than_the_config_says_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": NEURONS + 8}))
    refusal(folder)


@pytest.mark.parametrize("chunk", [1, 3, 4, 8, 64])
@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert"])
def test_a_feed_forward_in_chunks_is_refused_whatever_their_length(name: str, chunk: int) -> None:
    model, tokenizer = tiny_model(name, chunk_size_feed_forward=chunk)
    with pytest.raises(InputError, match="chunk_size_feed_forward"):
        load_encoder(model, tokenizer)


def test_a_layer_shared_by_all_depths_counts_at_each_of_them() -> None:
    tokenizer = wordpiece_tokenizer()
    config = transformers.AlbertConfig(
        vocab_size=len(tokenizer),
        embedding_size=8,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=NEURONS,
        max_position_embeddings=40,
    )
    structure = load_encoder(transformers.AlbertForMaskedLM(config), tokenizer).structure
    assert (structure.n_layers, structure.n_neurons) == (LAYERS, NEURONS)
    assert len(set(structure.projections)) == 1


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused() -> None:
    model, tokenizer = tiny_model("bert")
    tokenizer.add_tokens(["zebra"])
    with pytest.raises(InputError, match=f"{model.config.vocab_size}"):
        load_encoder(model, tokenizer)
