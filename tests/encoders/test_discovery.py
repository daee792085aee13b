"""Where the neurons are: the second map of each feed-forward block, in every architecture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from kn_lightning import load_encoder
from kn_lightning.attribution import AttributionSettings, attribute_encoded
from kn_lightning.core.registry import ATTRIBUTIONS
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.hooked import HookedForward
from kn_lightning.errors import InputError

from .tiny import HIDDEN, LAYERS, NEURONS, tiny_model

PROJECTIONS = {
    "bert": "bert.encoder.layer.{}.output.dense",
    "roberta": "roberta.encoder.layer.{}.output.dense",
    "distilbert": "distilbert.transformer.layer.{}.ffn.lin2",
    "modernbert": "model.layers.{}.mlp.Wo",
}
LAYER_NAMES = {
    "bert": "bert.encoder.layer.{}",
    "roberta": "roberta.encoder.layer.{}",
    "distilbert": "distilbert.transformer.layer.{}",
    "modernbert": "model.layers.{}",
}


def test_neurons_are_the_inputs_of_the_second_map_of_each_block_in_order(
    architecture: str, encoder: Encoder
) -> None:
    structure = encoder.structure
    expected = [PROJECTIONS[architecture].format(layer) for layer in range(LAYERS)]
    assert list(structure.names) == expected
    for name, projection in zip(expected, structure.projections, strict=True):
        assert encoder.model.get_submodule(name) is projection
    for number, layer in enumerate(structure.layers):
        name = LAYER_NAMES[architecture].format(number)
        assert encoder.model.get_submodule(name) is layer


def test_neurons_have_the_width_of_the_block_not_of_the_residual_stream(encoder: Encoder) -> None:
    structure = encoder.structure
    assert (structure.n_layers, structure.n_neurons, structure.hidden_size) == (
        LAYERS,
        NEURONS,
        HIDDEN,
    )
    for projection in structure.projections:
        assert (projection.in_features, projection.out_features) == (NEURONS, HIDDEN)


AS_WIDE = {"distilbert": {"hidden_dim": HIDDEN}}


@pytest.mark.parametrize("architecture", list(PROJECTIONS))
def test_a_block_as_wide_as_the_residual_stream_is_told_from_attention(
    architecture: str, make_encoder: Callable, encode: Callable
) -> None:
    wide = AS_WIDE.get(architecture, {"intermediate_size": HIDDEN})
    encoder = make_encoder(architecture, torch.float64, **wide)
    expected = [PROJECTIONS[architecture].format(layer) for layer in range(LAYERS)]
    assert list(encoder.structure.names) == expected
    assert encoder.structure.n_neurons == encoder.structure.hidden_size == HIDDEN
    prompts = encode(encoder)[:4]
    settings = AttributionSettings("gauss_legendre", 4)
    staged = attribute_encoded(encoder, prompts, settings).scores
    hooked = ATTRIBUTIONS[settings.attribution](
        HookedForward(encoder), HookedForward(encoder).base(encoder.batch(prompts), True), settings
    )
    assert encoder.traits.staged
    torch.testing.assert_close(staged, hooked.scores, rtol=1e-6, atol=1e-9)


def test_square_blocks_of_other_than_two_maps_are_refused() -> None:
    """With three maps behind attention's nobody knows which are the block's."""
    model, tokenizer = tiny_model("bert", intermediate_size=HIDDEN)
    for layer in model.bert.encoder.layer:
        own = layer.output.dense
        layer.output.dense = torch.nn.Sequential(own, torch.nn.Linear(HIDDEN, HIDDEN))
    with pytest.raises(InputError, match=f"hidden size {HIDDEN}"):
        load_encoder(model, tokenizer)


@pytest.mark.parametrize("layers", [1, 12])
def test_any_number_of_layers_is_found(layers: int, make_encoder: Callable) -> None:
    encoder = make_encoder("bert", num_hidden_layers=layers)
    assert encoder.structure.n_layers == layers
    # Peers sorted layers as strings: 0, 1, 10, 11, 2.
    assert list(encoder.structure.names) == [
        PROJECTIONS["bert"].format(layer) for layer in range(layers)
    ]


def test_bert_neurons_are_behind_the_activation_function(bert: Encoder, encode: Callable) -> None:
    batch = bert.batch(encode(bert)[:1])
    seen = {}
    handle = bert.model.bert.encoder.layer[1].intermediate.register_forward_hook(
        lambda _, __, output: seen.update(after=output)
    )
    with handle, torch.no_grad():
        base = HookedForward(bert).base(batch)
    torch.testing.assert_close(
        base.activations[0, 1, 0], seen["after"][0, batch.mask_positions[0, 0]], rtol=0, atol=0
    )


def test_modernbert_neurons_are_the_activation_times_the_gate(
    tiny_encoders: Callable, encode: Callable
) -> None:
    encoder = tiny_encoders("modernbert", torch.float32)
    batch = encoder.batch(encode(encoder)[:1])
    seen = {}
    mlp = encoder.model.model.layers[2].mlp
    handle = mlp.Wi.register_forward_hook(lambda _, __, output: seen.update(both=output))
    with handle, torch.no_grad():
        base = HookedForward(encoder).base(batch)
    value, gate = seen["both"][0, batch.mask_positions[0, 0]].chunk(2)
    expected = torch.nn.functional.gelu(value) * gate
    torch.testing.assert_close(base.activations[0, 2, 0], expected)


def test_dropout_is_off_whatever_mode_the_model_came_in() -> None:
    from kn_lightning import load_encoder

    model, tokenizer = tiny_model("bert")
    encoder = load_encoder(model.train(), tokenizer)
    assert not any(module.training for module in encoder.model.modules())
