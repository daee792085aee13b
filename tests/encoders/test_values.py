"""Value vectors through the head: by transformers' own modules, and in numpy by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import erf
from torch import Tensor

from kn_lightning import load_encoder
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.values import ValueLens
from kn_lightning.encoders.weights import value_vectors
from kn_lightning.errors import InputError
from kn_lightning.schema import Neuron

from .architectures import encoder_of
from .test_discovery import PROJECTIONS
from .tiny import LAYERS, NEURONS, fingerprint, tiny_model

SOME = [Neuron(0, 3), Neuron(1, 0), Neuron(2, 23), Neuron(2, 7)]
HEADS: dict[str, Callable[[torch.nn.Module, Tensor], Tensor]] = {
    "bert": lambda model, hidden: model.cls(hidden),
    "roberta": lambda model, hidden: model.lm_head(hidden),
    "distilbert": lambda model, hidden: model.vocab_projector(
        model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))
    ),
    # The last norm stands above all layers: what the head reads goes through it.
    "modernbert": lambda model, hidden: model.decoder(model.head(model.model.final_norm(hidden))),
}


def test_logits_are_those_of_the_models_own_head_modules(
    architecture: str, encoder64: Encoder
) -> None:
    before = fingerprint(encoder64.model)
    found = ValueLens(encoder64).logits(SOME)
    weights = encoder64.model.state_dict()
    head = HEADS[architecture]
    for logits, (layer, index) in zip(found, SOME, strict=True):
        value = weights[f"{PROJECTIONS[architecture].format(layer)}.weight"][:, index]
        with torch.no_grad():
            there, back = (head(encoder64.model, v[None, None])[0, 0] for v in (value, -value))
        torch.testing.assert_close(logits, (there - back) / 2)
    assert fingerprint(encoder64.model) == before


def test_layers_that_are_one_have_the_same_value_vectors() -> None:
    albert = encoder_of("albert")
    (name,) = set(albert.structure.names)
    value = albert.model.get_submodule(name).weight[:, 3]
    with torch.no_grad():
        there, back = (albert.model.predictions(v[None, None])[0, 0] for v in (value, -value))
    for logits in ValueLens(albert).logits([Neuron(layer, 3) for layer in range(LAYERS)]):
        torch.testing.assert_close(logits, (there - back) / 2)


def test_tiny_bert_by_hand() -> None:
    model, tokenizer = tiny_model("bert")
    lens = ValueLens(load_encoder(model, tokenizer))
    w = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    prefix = "cls.predictions."

    def head(vector: np.ndarray) -> np.ndarray:
        x = w[f"{prefix}transform.dense.weight"] @ vector + w[f"{prefix}transform.dense.bias"]
        x = x * (1 + erf(x / np.sqrt(2))) / 2
        x = (x - x.mean()) / np.sqrt(x.var() + model.config.layer_norm_eps)
        x = x * w[f"{prefix}transform.LayerNorm.weight"] + w[f"{prefix}transform.LayerNorm.bias"]
        return w["bert.embeddings.word_embeddings.weight"] @ x + w[f"{prefix}bias"]

    tokens = [[9, 12], [7], [20], [5, 6, 30]]
    found = lens.promoted(SOME, tokens, 6)
    for row, (layer, index) in enumerate(SOME):
        value = w[f"bert.encoder.layer.{layer}.output.dense.weight"][:, index]
        logits = (head(value) - head(-value)) / 2
        order = np.argsort(-logits)
        assert found.promoted[row].tolist() == order[:6].tolist()
        assert found.demoted[row].tolist() == order[::-1][:6].tolist()
        assert found.ranks[row] == [order.tolist().index(token) + 1 for token in tokens[row]]


def test_what_the_opposite_vector_promotes_is_what_this_one_demotes(bert: Encoder) -> None:
    lens = ValueLens(bert)
    own = lens.promoted(SOME, [[]] * 4, 5)
    model, tokenizer = tiny_model("bert")
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            layer.output.dense.weight.neg_()
    opposite = ValueLens(load_encoder(model, tokenizer)).promoted(SOME, [[]] * 4, 5)
    assert torch.equal(own.promoted, opposite.demoted)
    assert torch.equal(own.demoted, opposite.promoted)


def test_chunks_change_nothing_and_no_neuron_is_nothing(
    bert: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lens, tokens = ValueLens(bert), [[9], [12], [7], [8]]
    whole = lens.promoted(SOME, tokens, 5)
    monkeypatch.setattr("kn_lightning.encoders.values._LOGITS", 1)
    single = lens.promoted(SOME, tokens, 5)
    assert torch.equal(whole.promoted, single.promoted)
    assert torch.equal(whole.demoted, single.demoted)
    assert whole.ranks == single.ranks
    none = lens.promoted([], [], 5)
    assert none.promoted.shape == none.demoted.shape == (0, 5)
    assert none.ranks == []


def test_vectors_are_columns_of_the_second_map(bert: Encoder) -> None:
    values = value_vectors(bert, SOME)
    for value, (layer, index) in zip(values, SOME, strict=True):
        weight = bert.model.bert.encoder.layer[layer].output.dense.weight
        assert torch.equal(value, weight[:, index])
    for neuron in (Neuron(LAYERS, 0), Neuron(0, NEURONS)):
        with pytest.raises(InputError, match="this encoder has"):
            value_vectors(bert, [neuron])


def test_layers_that_share_their_map_are_read_though_they_cannot_be_edited(
    make_encoder: Callable[..., Encoder],
) -> None:
    encoder = make_encoder("bert")
    first, _, last = encoder.structure.projections
    last.weight = first.weight
    logits = ValueLens(encoder).logits([Neuron(0, 5), Neuron(2, 5)])
    assert torch.equal(logits[0], logits[1])


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ("squeezebert", "no plain linear map: its neurons have no value vectors to be read"),
        ("mobilebert", "its head can't be applied to a single vector"),
    ],
)
def test_an_encoder_whose_vectors_cannot_be_read_is_refused_in_one_line(
    architecture: str, words: str
) -> None:
    with pytest.raises(InputError) as refused:
        ValueLens(encoder_of(architecture))
    assert words in str(refused.value)
    assert "refine.values" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_vectors_of_another_size_than_the_head_reads_are_refused(bert: Encoder) -> None:
    narrow = replace(bert, structure=replace(bert.structure, hidden_size=8))
    with pytest.raises(InputError, match="value vectors have the size 8, and what its head reads"):
        ValueLens(narrow)


def test_a_head_that_needs_whole_sentences_is_refused(bert: Encoder) -> None:
    whole = replace(bert, traits=replace(bert.traits, positionwise_head=False))
    with pytest.raises(InputError, match=r"refine\.values: .* can't be applied to a single vector"):
        ValueLens(whole)
