"""An encoder that nobody has seen before: found and verified, or refused; never wrong neurons."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    LongformerConfig,
    LongformerForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
    XmodConfig,
    XmodForMaskedLM,
)
from transformers.modeling_outputs import MaskedLMOutput

from kn_lightning import load_encoder
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.forwards import fastest_forward
from kn_lightning.encoders.hooked import HookedForward
from kn_lightning.encoders.rows import ROWS, Row
from kn_lightning.errors import InputError

from .test_staged import assert_forwards_agree, several
from .tiny import (
    HEADS,
    HIDDEN,
    LAYERS,
    NEURONS,
    POSITIONS,
    tiny_model,
    word_tokenizer,
    wordpiece_tokenizer,
)


class OddConfig(PreTrainedConfig):
    """All that the package may ask of a config: hidden_size and vocab_size."""

    model_type = "odd"

    def __init__(self, quirk: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.quirk = quirk
        self.vocab_size = len(word_tokenizer())
        self.hidden_size = HIDDEN
        self.tie_word_embeddings = False


class Mingle(nn.Module):
    """Attention with a bias for each head and distance, in one fused map without biases."""

    def __init__(self, width: int = HIDDEN) -> None:
        super().__init__()
        self.fused = nn.Linear(HIDDEN, 3 * width, bias=False)
        self.out = nn.Linear(width, HIDDEN, bias=False)

    def forward(self, stream: Tensor, veto: Tensor, slope: Tensor) -> Tensor:
        split = self.fused(stream).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = split
        weights = query @ key.mT / math.sqrt(HIDDEN // HEADS) + slope + veto
        return self.out((weights.softmax(-1) @ value).transpose(1, 2).flatten(2))


class Raw(nn.Module):
    """A linear map that is no nn.Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(NEURONS, HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix


class Storey(nn.Module):
    """Pre-norm layer; takes all but its input by name and gives a dictionary."""

    def __init__(self, quirk: str, number: int) -> None:
        super().__init__()
        width = NEURONS + number if quirk == "widths differ" else NEURONS
        self.quirk = quirk
        self.calm = nn.LayerNorm(HIDDEN)
        self.mingle = Mingle(2 * NEURONS if quirk == "wide attention" else HIDDEN)
        self.settle = nn.LayerNorm(HIDDEN)
        self.widen = nn.Linear(HIDDEN, 2 * width)
        self.narrow: nn.Module = nn.Linear(width, HIDDEN, bias=False)
        if quirk == "map is no Linear":
            self.narrow = Raw()
        self.squeeze = nn.Sequential(nn.Linear(HIDDEN, 5), nn.Tanh(), nn.Linear(5, HIDDEN))

    def think(self, stream: Tensor) -> Tensor:
        value, gate = self.widen(self.settle(stream)).chunk(2, -1)
        wide = torch.relu(value) * gate
        if self.quirk == "neurons run in two halves":
            halves = wide.chunk(2, 1)
            return torch.cat([self.narrow(half) for half in halves], 1)
        if self.quirk == "neurons run twice":
            return self.narrow(wide) + self.narrow(wide)
        if self.quirk == "tokens are flattened":
            return self.narrow(wide.flatten(0, 1)).unflatten(0, wide.shape[:2])
        if self.quirk == "neurons are not used":
            return 0 * self.narrow(wide)
        return self.narrow(wide)

    def forward(self, stream: Any, *, veto: Tensor, slope: Tensor, extra: Any) -> Any:
        if self.quirk == "hidden states are not the first tensor":
            veto, stream = stream, veto
        scale = extra["scale"]
        if self.quirk == "words are not mixed":
            return {"stream": stream + scale * self.think(stream)}
        if self.quirk == "neurons before attention":
            stream = stream + scale * self.think(stream)
            return {"stream": stream + self.mingle(self.calm(stream), veto, slope)}
        stream = stream + self.mingle(self.calm(stream), veto, slope)
        if self.quirk == "sees the first layer's output" and extra["first"] is not None:
            stream = stream + extra["first"]
        stream = stream + scale * self.think(stream)
        if self.quirk == "an adapter behind the neurons":
            stream = stream + self.squeeze(stream)
        return {"stream": stream, "odd": None}


class OddEncoder(PreTrainedModel):
    """Names, argument passing and outputs unlike any encoder of transformers."""

    config_class = OddConfig

    def __init__(self, config: OddConfig) -> None:
        super().__init__(config)
        quirk = config.quirk
        self.glyphs = nn.Embedding(config.vocab_size, HIDDEN)
        self.places = nn.Embedding(POSITIONS, HIDDEN)
        self.slopes = nn.Parameter(torch.rand(HEADS))
        self.decoys = nn.ModuleList([nn.Linear(HIDDEN, HIDDEN) for _ in range(2)])
        self.tower = nn.ModuleList([Storey(quirk, number) for number in range(LAYERS)])
        if quirk == "one layer for all":
            self.tower = nn.ModuleList([self.tower[0]] * LAYERS)
        if quirk == "no list of layers":
            tower, self.tower = self.tower, nn.Identity()
            self.below, self.middle, self.above = tower
        self.readout = nn.Linear(HIDDEN, config.vocab_size)
        self.post_init()

    def storeys(self) -> list[nn.Module]:
        if self.config.quirk == "no list of layers":
            return [self.below, self.middle, self.above]
        return list(self.tower)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> MaskedLMOutput:
        if self.config.quirk == "a language is needed":  # as in XMOD
            raise ValueError("input language unknown")
        length = input_ids.shape[1]
        steps = torch.arange(length)
        distance = (steps[:, None] - steps).abs()
        slope = -self.slopes[:, None, None] * distance  # [heads, T, T], shared by all rows
        veto = (1 - attention_mask[:, None, None].to(slope.dtype)) * -1e4
        stream = self.glyphs(input_ids) + self.places(steps)
        first = None
        for storey in self.storeys():
            one, other = stream, veto
            if self.config.quirk == "hidden states are not the first tensor":
                one, other = veto, stream
            given = storey(one, veto=other, slope=slope, extra={"scale": 0.7, "first": first})
            stream = given["stream"]
            first = stream if first is None else first
        if self.config.quirk == "head mixes positions":
            present = attention_mask[..., None].to(stream.dtype)
            stream = stream + (stream * present).sum(1, keepdim=True) / present.sum(1, keepdim=True)
        for decoy in self.decoys:
            stream = stream + torch.tanh(decoy(stream))
        return MaskedLMOutput(logits=self.readout(stream))


def odd_model(quirk: str = "") -> OddEncoder:
    model = OddEncoder(OddConfig(quirk)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn_like(parameter))
    return model


def odd_encoder(quirk: str = "") -> Encoder:
    return load_encoder(odd_model(quirk), word_tokenizer())


def test_an_unknown_architecture_is_found_and_passes_the_contract(encode: Callable) -> None:
    encoder = odd_encoder()
    assert encoder.structure.names == ("tower.0.narrow", "tower.1.narrow", "tower.2.narrow")
    assert (encoder.structure.n_neurons, encoder.structure.hidden_size) == (NEURONS, HIDDEN)
    for size in (1, 2, LAYERS, HEADS, 7):
        assert_forwards_agree(encoder, several(encoder, encode, size))


def test_a_head_that_mixes_positions_gets_all_of_them(encode: Callable) -> None:
    encoder = odd_encoder("head mixes positions")
    assert not encoder.traits.positionwise_head
    for size in (1, LAYERS, 7):
        assert_forwards_agree(encoder, several(encoder, encode, size))


def test_neurons_are_found_where_the_block_comes_before_attention(encode: Callable) -> None:
    encoder = odd_encoder("neurons before attention")
    assert encoder.structure.names == ("tower.0.narrow", "tower.1.narrow", "tower.2.narrow")
    assert_forwards_agree(encoder, encode(encoder))


def test_neurons_are_those_of_the_block_not_of_an_adapter_behind_it(encode: Callable) -> None:
    encoder = odd_encoder("an adapter behind the neurons")
    assert encoder.structure.names == ("tower.0.narrow", "tower.1.narrow", "tower.2.narrow")
    assert_forwards_agree(encoder, encode(encoder))


def test_xmods_adapters_are_not_taken_for_its_neurons(encode: Callable) -> None:
    _, tokenizer = tiny_model("roberta")
    config = XmodConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=NEURONS,
        max_position_embeddings=POSITIONS,
        pad_token_id=1,
        type_vocab_size=1,
        languages=["en_XX", "de_DE"],
        default_language="en_XX",
        initializer_range=0.4,
    )
    encoder = load_encoder(XmodForMaskedLM(config).double(), tokenizer)
    expected = [f"roberta.encoder.layer.{layer}.output.dense" for layer in range(LAYERS)]
    assert list(encoder.structure.names) == expected
    assert_forwards_agree(encoder, encode(encoder))


def test_layers_that_share_a_module_count_each(encode: Callable) -> None:
    encoder = odd_encoder("one layer for all")
    assert encoder.structure.names == ("tower.0.narrow",) * LAYERS
    for size in (1, LAYERS, 7):
        assert_forwards_agree(encoder, several(encoder, encode, size))


def test_attention_wider_than_the_block_is_not_taken_for_it(encode: Callable) -> None:
    encoder = odd_encoder("wide attention")
    assert encoder.structure.names == ("tower.0.narrow", "tower.1.narrow", "tower.2.narrow")
    assert encoder.structure.n_neurons == NEURONS
    assert_forwards_agree(encoder, encode(encoder))


@pytest.mark.parametrize(
    "quirk", ["sees the first layer's output", "hidden states are not the first tensor"]
)
def test_whole_passes_are_run_where_layers_are_no_chain(quirk: str) -> None:
    encoder = odd_encoder(quirk)
    assert not encoder.traits.staged
    assert isinstance(fastest_forward(encoder, 1 << 12), HookedForward)


def test_a_row_names_maps_that_are_no_linear_maps_and_layers_in_no_list() -> None:
    for quirk, names in (
        ("map is no Linear", [f"tower.{layer}.narrow" for layer in range(LAYERS)]),
        ("no list of layers", ["below.narrow", "middle.narrow", "above.narrow"]),
    ):
        with mock.patch.dict(ROWS, odd=Row(second_map=r"[a-z0-9.]+\.narrow")):
            encoder = odd_encoder(quirk)
        assert list(encoder.structure.names) == names
        assert not encoder.traits.staged


def test_a_row_that_names_nothing_is_refused_by_its_expression() -> None:
    with (
        mock.patch.dict(ROWS, odd=Row(second_map="nowhere")),
        pytest.raises(InputError, match="called nowhere"),
    ):
        odd_encoder()


@pytest.mark.parametrize("window", [4, 8, 40])
def test_padding_to_a_window_is_seen_through_whatever_the_lengths(
    window: int, encode: Callable
) -> None:
    config = LongformerConfig(
        vocab_size=len(wordpiece_tokenizer()),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=NEURONS,
        max_position_embeddings=POSITIONS + 2,
        attention_window=window,
        initializer_range=0.4,
        pad_token_id=0,
    )
    encoder = load_encoder(LongformerForMaskedLM(config), wordpiece_tokenizer())
    assert encoder.traits.staged
    for size in (1, 2, LAYERS, HEADS):
        for prompt in encode(encoder):
            assert_forwards_agree(encoder, [prompt] * size)


@pytest.mark.parametrize(
    ("quirk", "reason"),
    [
        ("widths differ", r"layers differ in their neurons: \[24, 25, 26\]"),
        ("neurons run in two halves", "fed from its own position alone"),
        ("neurons run twice", "tower.0.narrow runs 2 times"),
        ("neurons are not used", "inputs of tower.0.narrow .* changes nothing. Name the maps"),
        ("words are not mixed", "the same whatever the other words are"),
        ("no list of layers", r"lists seen: decoys \(2 x Linear\)"),
        ("map is no Linear", r'no list of layers.*ROWS\["odd"\] = Row\(second_map'),
        ("tokens are flattened", "not one row for each token"),
        ("a language is needed", "input language unknown"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(quirk: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"OddEncoder.*({reason})"):
        odd_encoder(quirk)


@pytest.mark.parametrize("key", ["hidden_size", "vocab_size"])
def test_a_config_that_lacks_a_size_is_refused_by_its_name(key: str) -> None:
    model = odd_model()
    delattr(model.config, key)
    with pytest.raises(InputError, match=key):
        load_encoder(model, word_tokenizer())
