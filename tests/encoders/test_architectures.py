"""Every architecture of transformers' AutoModelForMaskedLM keeps the contract, or is refused.

Which are refused, and why, stands here. Two strangers keep it as well. References are
hooks written out here, on the module of the name that the package gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kn_lightning import attribute
from kn_lightning.core.edits import row_edits
from kn_lightning.core.forward import Points, TokenBatch
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.forwards import fastest_forward
from kn_lightning.encoders.hooked import HookedForward
from kn_lightning.encoders.rows import ROWS
from kn_lightning.errors import InputError
from kn_lightning.schema import Neuron

from .architectures import FLOAT32, NAMES, encoder_of, tiny_architecture
from .stranger import STRANGERS
from .table import PAGE, page
from .test_several_masks import prompts_of
from .test_staged import EVERYTHING, assert_forwards_agree, everywhere, several
from .tiny import HEADS, LAYERS, PROMPTS, fingerprint

REFUSED = {
    "bart": "encoder-decoder",
    "funnel": "pool tokens",
    "mbart": "encoder-decoder",
    "mra": "the same whatever the other words are",  # without its CUDA kernel attention is 0
    "mvp": "encoder-decoder",
    "perceiver": "latents",
    "reformer": "reversible",
    "yoso": "estimate",
}
WHOLE = {"flaubert", "ibert", "mobilebert", "squeezebert", "xlm"}
"""Run by whole forward passes; all others by the staged forward."""
WITH_ROW = {"ibert", "mobilebert", "squeezebert"}
"""Whose neurons discovery doesn't find by itself."""

PASSING = [name for name in NAMES if name not in REFUSED]
FURTHER_LAYERS = {"mobilebert": 4 * LAYERS}  # four blocks a layer
WIDTHS = ("intermediate_size", "hidden_dim", "feed_forward_size")


@pytest.fixture(params=[*PASSING, *STRANGERS])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def any_encoder(name: str) -> Encoder:
    return encoder_of(name)


def masks(batch: TokenBatch) -> list[int]:
    """The place of each row's mask."""
    return batch.mask_positions[:, 0].tolist()


@contextmanager
def patched(
    encoder: Encoder, batch: TokenBatch, layer: int, change: Callable[[Tensor], Tensor]
) -> Iterator[Counter[str]]:
    """Within the block: a layer's neurons at the mask are put through a change, by hand.

    Gives how often each of the named modules ran.
    """
    names = encoder.structure.names
    calls: Counter[str] = Counter()
    turn = names[:layer].count(names[layer])  # which call of a module is this layer's

    def hook(called: str, args: tuple[Tensor, ...]) -> Any:
        calls[called] += 1
        if called != names[layer] or calls[called] - 1 != turn:
            return None
        neurons = args[0].clone()
        for row, mask in enumerate(masks(batch)):
            # A convolution has the tokens last.
            place = (row, slice(None), mask) if _is_convolution(encoder, called) else (row, mask)
            neurons[place] = change(neurons[place])
        return (neurons, *args[1:])

    handles = [
        encoder.model.get_submodule(one).register_forward_pre_hook(
            lambda _, args, one=one: hook(one, args)
        )
        for one in dict.fromkeys(names)
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _is_convolution(encoder: Encoder, called: str) -> bool:
    return isinstance(encoder.model.get_submodule(called), nn.Conv1d)


def at_masks(encoder: Encoder, batch: TokenBatch) -> Tensor:
    """Logits at the masks ``[B, V]``."""
    with torch.no_grad():
        logits = encoder.model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask
        ).logits
    return torch.stack([row[mask] for row, mask in zip(logits, masks(batch), strict=True)])


def probability(
    encoder: Encoder, batch: TokenBatch, layer: int, change: Callable[[Tensor], Tensor]
) -> Tensor:
    """P of the answers ``[B]``, a layer changed by hand."""
    with patched(encoder, batch, layer, change):
        logits = at_masks(encoder, batch)
    return logits.softmax(-1).gather(1, batch.answers)[:, 0]


@pytest.mark.parametrize("name", REFUSED)
def test_where_neurons_are_not_defined_or_answers_not_read_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name]) as caught:
        encoder_of(name)
    assert "\n" not in str(caught.value)


def test_most_architectures_pass_and_few_need_a_row() -> None:
    assert set(REFUSED) < set(NAMES)
    assert len(PASSING) >= 40
    staged = [name for name in PASSING if encoder_of(name).traits.staged]
    assert set(PASSING) - set(staged) == WHOLE
    assert len(staged) >= 35
    refused = {name for name, row in ROWS.items() if row.refused}
    assert refused <= set(REFUSED)
    assert set(ROWS) - refused == WITH_ROW


def test_the_page_of_encoders_says_what_is_found_here() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.encoders.table"


@pytest.mark.parametrize("name", NAMES)
def test_each_is_tiny(name: str) -> None:
    size = sum(parameter.numel() for parameter in tiny_architecture(name).parameters())
    assert size <= 100_000, f"{name}: make it small by settings in FURTHER"


def test_neurons_are_the_input_of_the_second_map_of_each_layer(
    name: str, any_encoder: Encoder, encode: Callable
) -> None:
    structure = any_encoder.structure
    assert structure.n_layers == len(structure.names) == FURTHER_LAYERS.get(name, LAYERS)
    config = any_encoder.model.config.get_text_config()
    widths = [width for key in WIDTHS if (width := getattr(config, key, None))]
    assert widths in ([], [structure.n_neurons])
    batch = any_encoder.batch(encode(any_encoder))
    shapes = []
    for layer, one in enumerate(structure.names):
        module = any_encoder.model.get_submodule(one)
        assert module is structure.projections[layer]
        with patched(any_encoder, batch, layer, lambda w: shapes.append(tuple(w.shape)) or w) as n:
            at_masks(any_encoder, batch)
        # Each fires once per layer and pass: one that layers share, once for each of them.
        assert n == Counter(structure.names)
    assert set(shapes) == {(structure.n_neurons,)}
    assert len(shapes) == structure.n_layers * len(batch.input_ids)


def test_neurons_replaced_by_themselves_change_no_bit_and_doubled_ones_the_answer(
    any_encoder: Encoder, encode: Callable
) -> None:
    batch = any_encoder.batch(encode(any_encoder))
    hooked = HookedForward(any_encoder)
    layers, plain = range(any_encoder.structure.n_layers), at_masks(any_encoder, batch)
    every = [(layer, i) for layer in layers for i in range(any_encoder.structure.n_neurons)]
    with any_encoder.edited(every, 1.0):
        assert torch.equal(at_masks(any_encoder, batch), plain)
    with torch.no_grad():
        same = hooked.logits(batch, {layer: lambda w: w for layer in layers}, mask_only=False)
    assert torch.equal(same[:, 0], plain)
    for layer in layers:
        with patched(any_encoder, batch, layer, lambda w: w):
            assert torch.equal(at_masks(any_encoder, batch), plain)
        with patched(any_encoder, batch, layer, lambda w: 2 * w):
            by_hand = at_masks(any_encoder, batch)
        assert (by_hand != plain).any(1).all()
        neurons = [one for one in every if one[0] == layer]
        with any_encoder.edited(neurons, 2.0):
            torch.testing.assert_close(at_masks(any_encoder, batch), by_hand)


def test_probabilities_and_slopes_of_each_layer_equal_those_taken_by_hand(
    name: str, any_encoder: Encoder, encode: Callable
) -> None:
    step, bound = (1e-2, 1e-1) if name in FLOAT32 else (1e-3, 1e-2)
    batch = any_encoder.batch(encode(any_encoder))
    forward = fastest_forward(any_encoder, EVERYTHING)
    base = forward.base(batch)
    places = everywhere(base)
    found = forward.scaled_probability(base, places, 0.0)
    slope = forward.slope(base, Points.of(places, 0.5, found.dtype)).gradient
    gradient = forward.neuron_gradient(base, places, slope)
    assert gradient.isfinite().all()
    along = (gradient * base.activations[places]).sum((1, 2))
    for layer in range(any_encoder.structure.n_layers):
        here = places[1] == layer
        torch.testing.assert_close(
            found[here], probability(any_encoder, batch, layer, lambda w: 0 * w)
        )
        assert (gradient[here] != 0).flatten(1).any(1).all()
        up, down = (
            probability(any_encoder, batch, layer, lambda w, by=by: (0.5 + by) * w)
            for by in (step, -step)
        )
        expected = (up - down) / (2 * step)
        assert (along[here] - expected).abs().max() <= bound * expected.abs().max(), layer


def test_answers_of_two_tokens_are_read_and_changed_at_both_masks(
    any_encoder: Encoder, encode: Callable
) -> None:
    batch = any_encoder.batch(prompts_of(any_encoder, encode, 2))
    forward = fastest_forward(any_encoder, EVERYTHING)
    base = forward.base(batch)
    changed = forward.scaled_probability(base, everywhere(base), 0.5).view(len(batch.answers), -1)
    for layer in range(any_encoder.structure.n_layers):
        # The first mask's neurons by the hook, the second one's by the same on its own places.
        both = [replace(batch, mask_positions=batch.mask_positions[:, [m]]) for m in (0, 1)]
        tokens = []
        for m, one in enumerate(both):
            with (
                patched(any_encoder, both[0], layer, lambda w: 0.5 * w),
                patched(any_encoder, both[1], layer, lambda w: 0.5 * w),
            ):
                logits = at_masks(any_encoder, one)
            tokens.append(logits.softmax(-1).gather(1, batch.answers[:, [m]])[:, 0])
        torch.testing.assert_close(changed[:, layer], tokens[0] * tokens[1])


def test_the_staged_forward_equals_whole_passes_for_any_number_of_rows(
    any_encoder: Encoder, encode: Callable
) -> None:
    if not any_encoder.traits.staged:
        assert isinstance(fastest_forward(any_encoder, EVERYTHING), HookedForward)
        return
    for rows in (HEADS, LAYERS):
        assert_forwards_agree(any_encoder, several(any_encoder, encode, rows))
    square = several(any_encoder, encode, 5)
    longest = max(len(prompt.input_ids) for prompt in square)
    assert_forwards_agree(any_encoder, several(any_encoder, encode, longest))


def test_attributions_add_up(any_encoder: Encoder, encode: Callable) -> None:
    texts, answers = (list(column) for column in zip(*PROMPTS, strict=True))
    batch = any_encoder.batch(encode(any_encoder))
    by_hand = []
    for layer in range(any_encoder.structure.n_layers):
        whole, none = (
            probability(any_encoder, batch, layer, lambda w, by=by: by * w) for by in (1, 0)
        )
        by_hand.append(whole - none)
    total = torch.stack(by_hand, 1)
    scale = total.abs().max(1, keepdim=True).values
    result = attribute(any_encoder, texts, answers, tolerance=1e-3)
    # What is said of the error is true, however large it is.
    error = (result.scores.sum(-1) - total).to(result.residual)
    torch.testing.assert_close(result.residual, error, rtol=1e-3, atol=1e-5)
    if (error.abs() > 1e-3 * scale).any():
        # Random weights this large make a few paths too steep for the 64 nodes that are the most.
        result = attribute(any_encoder, texts, answers, "gauss_legendre", 512)
    assert ((result.scores.sum(-1) - total).abs() <= 1e-3 * scale).all()


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_edits_equal_those_made_by_hand_and_count_once(
    any_encoder: Encoder, encode: Callable, factor: float
) -> None:
    batch = any_encoder.batch(encode(any_encoder))
    rows, layer = len(batch.input_ids), any_encoder.structure.n_layers - 2
    some = [Neuron(layer, index) for index in (0, 7, 3)]

    def by_hand(neurons: Tensor) -> Tensor:
        return (
            neurons.index_fill(0, torch.tensor([0, 3, 7]), 0)
            if factor == 0
            else neurons
            * (1 + (torch.arange(len(neurons))[:, None] == torch.tensor([0, 3, 7])).any(1))
        )

    with patched(any_encoder, batch, layer, by_hand):
        expected = at_masks(any_encoder, batch)
    # Not in all rows: neurons of a squared ReLU are 0 in some.
    assert (expected != at_masks(any_encoder, batch)).any(1).float().mean() > 0.5
    with any_encoder.edited(some, factor):
        torch.testing.assert_close(at_masks(any_encoder, batch), expected)
    with any_encoder.edited([*some, *some, some[1]], factor):
        torch.testing.assert_close(at_masks(any_encoder, batch), expected)
    if factor == 0:
        with any_encoder.edited(some, 0.0), any_encoder.edited(some, 0.0):
            torch.testing.assert_close(at_masks(any_encoder, batch), expected)
    answers = batch.answers
    wanted = expected.softmax(-1).gather(1, answers)[:, 0]
    for forward in (HookedForward(any_encoder), fastest_forward(any_encoder, EVERYTHING)):
        base = forward.base(batch)
        edits = row_edits([([*some, *some], factor)] * rows)
        found = forward.edited_statistics(base, torch.arange(rows), edits).probability
        torch.testing.assert_close(found, wanted)


def test_an_exception_leaves_the_model_as_it_was(any_encoder: Encoder, encode: Callable) -> None:
    batch = any_encoder.batch(encode(any_encoder))
    before = fingerprint(any_encoder.model)
    some = [(layer, 1) for layer in range(any_encoder.structure.n_layers)]

    def planted(*_: Any) -> None:
        raise torch.OutOfMemoryError("planted")

    def interrupted() -> None:
        with any_encoder.edited(some):
            at_masks(any_encoder, batch)
            raise torch.OutOfMemoryError("planted")

    with pytest.raises(torch.OutOfMemoryError, match="planted"):
        interrupted()
    forward = fastest_forward(any_encoder, EVERYTHING)
    base = forward.base(batch)
    last = any_encoder.structure.projections[-1]
    with (
        last.register_forward_pre_hook(planted),
        pytest.raises(torch.OutOfMemoryError, match="planted"),
    ):
        forward.slope(base, Points.of(everywhere(base), 0.5, base.activations.dtype))
    assert fingerprint(any_encoder.model) == before
