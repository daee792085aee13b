"""What a climb may leave out, by each trait alone: the same results, and no more tokens than said.

Which traits the contract check finds for each architecture is pinned here: an encoder that lost one
would still be right, but slow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from kn_lightning.core.forward import Forward, Places, Points, TokenBatch
from kn_lightning.encoders.encoder import Encoder, Traits
from kn_lightning.encoders.hooked import HookedForward
from kn_lightning.encoders.staged import StagedForward

from .test_staged import EVERYTHING, assert_forwards_agree, everywhere, relative, several
from .test_staged_edits import assert_equal, edited, random_rows, reference
from .tiny import HIDDEN, LAYERS

NODES = (0.2, 0.5, 0.9)

ENTRIES = {
    "bert": ["self.query", "self.key", "self.value"],
    "roberta": ["self.query", "self.key", "self.value"],
    "distilbert": ["q_lin", "k_lin", "v_lin"],
    "modernbert": ["Wqkv"],
}
MASK_MAPS = {
    "bert": ["self.query", "output.dense"],
    "roberta": ["self.query", "output.dense"],
    "distilbert": ["q_lin", "out_lin"],
    "modernbert": ["Wo"],
}
MIXERS = {
    "bert": "bert.encoder.layer.{}.attention",
    "roberta": "roberta.encoder.layer.{}.attention",
    "distilbert": "distilbert.transformer.layer.{}.attention",
    "modernbert": "model.layers.{}.attn",
}
DECODERS = {
    "bert": "cls.predictions.decoder",
    "roberta": "lm_head.decoder",
    "distilbert": "vocab_projector",
    "modernbert": "decoder",
}

LACKING: dict[str, Callable[[Traits], Traits]] = {
    "entries": lambda traits: replace(traits, entries=()),
    "mask maps": lambda traits: replace(traits, mask_maps=()),
    "entries and mask maps": lambda traits: replace(traits, entries=(), mask_maps=()),
    "mixers": lambda traits: replace(traits, mixers=()),
    "decoder": lambda traits: replace(traits, decoder=None),
    "positionwise head": lambda traits: replace(traits, positionwise_head=False),
    "decoder and positionwise head": lambda traits: replace(
        traits, decoder=None, positionwise_head=False
    ),
    "everything": lambda traits: Traits(batch_axes=traits.batch_axes),
}


@pytest.fixture(params=LACKING)
def fewer(request: pytest.FixtureRequest, encoder64: Encoder) -> Encoder:
    """Each architecture without one of its traits."""
    traits = LACKING[request.param](encoder64.traits)
    assert traits != encoder64.traits
    return replace(encoder64, traits=traits)


def end_gradients(forward: Forward, batch: TokenBatch) -> Tensor:
    """``[N, I]``: slopes at the end of all paths by their neurons, as the base pass knows them."""
    base = forward.base(batch, with_slope=True)
    assert base.end_gradient is not None
    places = everywhere(base)
    return forward.neuron_gradient(base, places, base.end_gradient[places]).flatten(1)


def test_an_encoder_with_fewer_traits_gives_the_same_more_slowly(
    fewer: Encoder, encode: Callable
) -> None:
    assert_forwards_agree(fewer, encode(fewer))
    assert_forwards_agree(fewer, encode(fewer), row_tokens=70)


def test_edits_and_slopes_at_the_end_need_none_of_the_traits(
    encoder64: Encoder, fewer: Encoder, encode: Callable
) -> None:
    batch = fewer.batch(encode(fewer))
    prompt, edits = random_rows(len(batch.answers), 40)
    expected = reference(encoder64, batch, prompt, edits)
    for row_tokens in (70, EVERYTHING):
        assert_equal(edited(fewer, batch, prompt, edits, row_tokens), expected)
    ends = end_gradients(HookedForward(encoder64), batch)
    assert relative(end_gradients(StagedForward(fewer, EVERYTHING), batch), ends) <= 1e-11


def test_the_traits_of_each_architecture_are_found(architecture: str, encoder: Encoder) -> None:
    traits, model = encoder.traits, encoder.model
    assert traits.positionwise_head
    assert traits.decoder is model.get_submodule(DECODERS[architecture])
    mixers = [model.get_submodule(MIXERS[architecture].format(layer)) for layer in range(LAYERS)]
    assert list(traits.mixers) == mixers
    for mixer, entries in zip(mixers, traits.entries, strict=True):
        expected = [mixer.get_submodule(name) for name in ENTRIES[architecture]]
        assert list(entries) == expected
    last = [mixers[-1].get_submodule(name) for name in MASK_MAPS[architecture]]
    assert list(traits.mask_maps) == last


@contextmanager
def tokens_given(model: nn.Module) -> Iterator[Counter[str]]:
    """Within the block: how many tokens each linear map of a model is given, by its name."""
    linears = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    names = {module.weight: name for name, module in linears}
    given: Counter[str] = Counter()
    linear = nn.functional.linear

    def counted(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if weight in names:
            given[names[weight]] += hidden.shape[:-1].numel()
        return linear(hidden, weight, bias)

    with mock.patch.object(nn.functional, "linear", counted):
        yield given


def test_only_what_is_needed_is_computed(
    architecture: str, encoder: Encoder, encode: Callable
) -> None:
    batch = encoder.batch(encode(encoder))
    width = batch.input_ids.shape[1]
    staged = StagedForward(encoder, EVERYTHING)
    base = staged.base(batch)
    places = everywhere(base)
    points = [Points.of(places, node) for node in NODES]
    with tokens_given(encoder.model) as given:
        staged.slope(base, Points(*map(torch.cat, zip(*points, strict=True))))
    each = len(NODES) * len(batch.answers)  # rows that start at a layer
    for layer in range(LAYERS):
        name = MIXERS[architecture].format(layer)
        last = layer == LAYERS - 1
        below, fresh = each * layer, each * (layer > 0)
        # Those that started right before it differ from the base pass at the mask alone.
        entered = (below - fresh) * width + fresh
        for entry in ENTRIES[architecture]:
            only_mask = last and entry in MASK_MAPS[architecture]
            assert given[f"{name}.{entry}"] == (below if only_mask else entered), (layer, entry)
        output = MASK_MAPS[architecture][-1]
        assert given[f"{name}.{output}"] == below * (1 if last else width), layer
        # The neurons' map: not run at all for the rows that start there.
        projection = encoder.structure.names[layer]
        assert given[projection] == below * (1 if last else width), layer
    assert sum(given.values()) > 0


def test_the_base_pass_runs_once_and_its_head_at_the_mask_alone(
    architecture: str, encoder: Encoder, encode: Callable
) -> None:
    batch = encoder.batch(encode(encoder))
    tokens = batch.input_ids.numel()
    with tokens_given(encoder.model) as given:
        StagedForward(encoder, EVERYTHING).base(batch, with_slope=True)
    layers = [f"{MIXERS[architecture].format(layer)}." for layer in range(LAYERS)]
    inside = {name: n for name, n in given.items() if name.startswith(tuple(layers))}
    assert set(inside.values()) == {tokens}
    assert [given[name] for name in encoder.structure.names] == [tokens] * LAYERS
    known = {*inside, *encoder.structure.names}
    head = {name for name in given if name not in known and not _in_layer(encoder, name)}
    assert head
    assert {given[name] for name in head} == {len(batch.answers)}


def _in_layer(encoder: Encoder, name: str) -> bool:
    module = encoder.model.get_submodule(name)
    return any(module is part for layer in encoder.structure.layers for part in layer.modules())


def test_rows_of_one_layer_alone_run_no_layer_below(
    architecture: str, encoder: Encoder, encode: Callable
) -> None:
    batch = encoder.batch(encode(encoder))
    staged = StagedForward(encoder, EVERYTHING)
    base = staged.base(batch)
    rows = len(batch.answers)
    for layer in range(LAYERS):
        places = Places((torch.arange(rows), torch.full((rows,), layer)))
        with tokens_given(encoder.model) as given:
            staged.slope(base, Points.of(places, 0.5))
        runs = [given[name] for name in encoder.structure.names]
        assert not any(runs[: layer + 1])
        assert all(runs[layer + 1 :])


def test_the_end_gradient_is_the_slope_at_the_end_of_each_path(
    encoder64: Encoder, encode: Callable
) -> None:
    batch = encoder64.batch(encode(encoder64))
    staged = StagedForward(encoder64, EVERYTHING)
    base = staged.base(batch, with_slope=True)
    places = everywhere(base)
    assert base.end_gradient is not None
    assert base.end_gradient.shape == (len(batch.answers), LAYERS, 1, HIDDEN)
    slope = staged.slope(base, Points.of(places, 1.0))
    assert relative(base.end_gradient[places], slope.gradient) <= 1e-11
    untouched = base.statistics.probability[places[0]]
    torch.testing.assert_close(slope.probability, untouched, rtol=1e-11, atol=0)
    # Asked for or not, the rest of the base pass is the same.
    plain = staged.base(batch)
    assert plain.end_gradient is None
    assert torch.equal(plain.activations, base.activations)
    for ours, other in zip(plain.statistics, base.statistics, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-12, atol=1e-12)


def test_the_end_gradient_equals_finite_differences(
    architecture: str, encoder64: Encoder, encode: Callable
) -> None:
    # ModernBERT turns queries and keys in float32 even here.
    step, bound = (1e-4, 1e-3) if architecture == "modernbert" else (1e-5, 1e-6)
    (prompt,) = several(encoder64, encode, 1)
    batch = encoder64.batch([prompt])
    mask = prompt.mask_positions[0]
    base = StagedForward(encoder64, EVERYTHING).base(batch, with_slope=True)
    assert base.end_gradient is not None
    nudges = step * torch.cat([torch.eye(HIDDEN), -torch.eye(HIDDEN)]).double()
    ids = batch.input_ids.expand(len(nudges), -1)
    for layer, projection in enumerate(encoder64.structure.projections):

        def nudge(_: object, __: object, output: Tensor) -> Tensor:
            moved = output.clone()
            moved[:, mask] += nudges
            return moved

        with torch.no_grad(), projection.register_forward_hook(nudge):
            logits = encoder64.model(input_ids=ids).logits[:, mask]
        up, down = logits.softmax(-1)[:, prompt.answers[0]].chunk(2)
        expected = (up - down) / (2 * step)
        found = base.end_gradient[0, layer, 0]
        assert (found - expected).abs().max() <= bound * expected.abs().max()


def test_another_base_pass_in_between_changes_nothing(encoder64: Encoder, encode: Callable) -> None:
    prompts = encode(encoder64)
    staged = StagedForward(encoder64, EVERYTHING)
    base = staged.base(encoder64.batch(prompts))
    points = Points.of(everywhere(base), 0.3)
    first = staged.slope(base, points)
    staged.base(encoder64.batch(prompts[::-1]), with_slope=True)
    assert torch.equal(first.gradient, staged.slope(base, points).gradient)
