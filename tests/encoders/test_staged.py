"""The staged forward equals the hooked reference, which equals a forward pass patched by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice

import pytest
import torch
from torch import Tensor

from kn_lightning.core.forward import BasePass, Forward, Places, Points
from kn_lightning.core.quadrature import Quadrature, quadrature
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.hooked import HookedForward, mask_index
from kn_lightning.encoders.staged import StagedForward
from kn_lightning.schema import EncodedPrompt

from .test_discovery import PROJECTIONS
from .tiny import HEADS, HIDDEN, LAYERS, NEURONS, PROMPTS, fingerprint

EVERYTHING = 10**6
RULE = quadrature("gauss_legendre", 4)
BOUND = {torch.float32: 1e-5, torch.float64: 1e-11}


def relative(ours: Tensor, reference: Tensor) -> float:
    """Largest difference of each row, as a share of the row's largest value."""
    ours, reference = ours.flatten(1), reference.flatten(1)
    assert ours.shape == reference.shape
    assert ours.isfinite().all()
    return ((ours - reference).abs().amax(1) / reference.abs().amax(1)).max().item()


def several(encoder: Encoder, encode: Callable, count: int) -> list[EncodedPrompt]:
    """Any number of prompts, of mixed lengths where there are two or more."""
    return list(islice(cycle(encode(encoder)), count))


def everywhere(base: BasePass) -> Places:
    return Places.where(torch.ones(base.activations.shape[:2], dtype=torch.bool))


def integrated_gradient(
    forward: Forward, base: BasePass, places: Places, rule: Quadrature = RULE
) -> Tensor:
    """``[N, M * I]``: the sum of weight * dP/dw at node over a rule, all its rows together."""
    points = [Points.of(places, node) for node in rule.nodes.tolist()]
    slope = forward.slope(base, Points(*map(torch.cat, zip(*points, strict=True))))
    assert slope.probability.shape == (len(points) * len(places[0]),)
    parts = slope.gradient.unflatten(0, (len(points), -1))
    weighted = (rule.weights.to(parts.dtype)[:, None, None, None] * parts).sum(0)
    return forward.neuron_gradient(base, places, weighted).flatten(1)


def assert_bases_agree(ours: BasePass, reference: BasePass, bound: float) -> None:
    assert relative(ours.activations, reference.activations) <= bound
    ours_said, said = ours.statistics, reference.statistics
    assert relative(ours_said.probability[:, None], said.probability[:, None]) <= bound
    torch.testing.assert_close(ours_said.log_odds, said.log_odds, rtol=bound, atol=bound)
    assert torch.equal(ours_said.rank, said.rank)
    assert torch.equal(ours_said.argmax, said.argmax)


def assert_forwards_agree(
    encoder: Encoder, prompts: list[EncodedPrompt], row_tokens: int = EVERYTHING
) -> None:
    bound = BOUND[encoder.model.dtype]
    batch = encoder.batch(prompts)
    hooked, staged = HookedForward(encoder), StagedForward(encoder, row_tokens)
    reference, base = hooked.base(batch), staged.base(batch)
    assert_bases_agree(base, reference, bound)
    places = everywhere(base)
    for factor in (0.0, 0.5, 1.0, 2.0):
        slow = hooked.scaled_probability(reference, places, factor)[:, None]
        fast = staged.scaled_probability(base, places, factor)[:, None]
        assert relative(fast, slow) <= bound, factor
    neuron = torch.arange(len(places[0])) * 7 % NEURONS
    slow = hooked.ablated_probability(reference, places, neuron)[:, None]
    assert relative(staged.ablated_probability(base, places, neuron)[:, None], slow) <= bound
    slow = integrated_gradient(hooked, reference, places)
    assert relative(integrated_gradient(staged, base, places), slow) <= bound


@pytest.mark.parametrize("layer", range(LAYERS))
def test_the_reference_equals_a_forward_pass_patched_by_hand(
    architecture: str, encoder64: Encoder, encode: Callable, layer: int
) -> None:
    encoder = encoder64
    prompt = encode(encoder)[4]
    mask = prompt.mask_positions[0]
    module = encoder.model.get_submodule(PROJECTIONS[architecture].format(layer))
    ids = torch.tensor([prompt.input_ids])  # alone, no padding, no attention mask

    def probability(change: Callable[[Tensor], Tensor]) -> Tensor:
        def hook(_: object, args: tuple[Tensor]) -> tuple[Tensor]:
            rows = list(args[0][0].unbind())
            rows[mask] = change(rows[mask])
            return (torch.stack(rows)[None],)

        with module.register_forward_pre_hook(hook):
            logits = encoder.model(input_ids=ids).logits[0, mask]
        return logits.softmax(-1)[prompt.answers[0]]

    hooked = HookedForward(encoder)
    base = hooked.base(encoder.batch([prompt]))
    places = Places((torch.tensor([0]), torch.tensor([layer])))
    for factor in (0.0, 0.5, 1.0, 2.0):
        with torch.no_grad():
            expected = probability(lambda w, factor=factor: factor * w)
        assert hooked.scaled_probability(base, places, factor).item() == pytest.approx(
            expected.item(), rel=1e-10
        )
    neuron = 5
    with torch.no_grad():
        expected = probability(lambda w: torch.where(torch.arange(NEURONS) == neuron, 0, w))
    ablated = hooked.ablated_probability(base, places, torch.tensor([neuron]))
    assert ablated.item() == pytest.approx(expected.item(), rel=1e-10)

    activation: list[Tensor] = []
    with torch.no_grad():
        probability(lambda w: activation.append(w.clone()) or w)
    torch.testing.assert_close(base.activations[0, layer, 0], activation[0])
    total = torch.zeros(NEURONS, dtype=torch.float64)
    for node, weight in zip(RULE.nodes.tolist(), RULE.weights.tolist(), strict=True):
        path = (node * activation[0]).requires_grad_(True)
        (gradient,) = torch.autograd.grad(probability(lambda _, path=path: path), path)
        total += weight * gradient
    torch.testing.assert_close(
        integrated_gradient(hooked, base, places)[0], total, rtol=1e-9, atol=1e-12
    )


def test_staged_equals_hooked_in_float32(encoder: Encoder, encode: Callable) -> None:
    assert_forwards_agree(encoder, encode(encoder))


def test_staged_equals_hooked_in_float64(encoder64: Encoder, encode: Callable) -> None:
    assert_forwards_agree(encoder64, encode(encoder64))


# A batch as large as some other axis: what is expanded must be known, not guessed from sizes.
@pytest.mark.parametrize("size", [1, 2, LAYERS, HEADS, HIDDEN], ids=str)
def test_staged_equals_hooked_for_a_batch_as_large_as_another_axis(
    encoder64: Encoder, encode: Callable, size: int
) -> None:
    assert_forwards_agree(encoder64, several(encoder64, encode, size))


def test_staged_equals_hooked_for_a_batch_as_large_as_its_prompts_are_long(
    encoder64: Encoder, encode: Callable
) -> None:
    prompts = several(encoder64, encode, 7)
    prompts = several(encoder64, encode, max(len(prompt.input_ids) for prompt in prompts))
    batch = encoder64.batch(prompts)
    assert batch.input_ids.shape[0] == batch.input_ids.shape[1]
    assert_forwards_agree(encoder64, prompts)


def test_staged_equals_hooked_without_any_padding(encoder64: Encoder, encode: Callable) -> None:
    prompts = encode(encoder64, [PROMPTS[2], ("a [MASK] is big.", "kitten"), PROMPTS[2]])
    assert encoder64.batch(prompts).attention_mask.all()
    assert_forwards_agree(encoder64, prompts)


@pytest.mark.parametrize("row_tokens", [1, 50])
def test_rows_computed_in_small_chunks_give_the_same(
    encoder64: Encoder, encode: Callable, row_tokens: int
) -> None:
    assert_forwards_agree(encoder64, encode(encoder64), row_tokens)


def test_some_places_alone_give_what_they_give_among_all(
    encoder64: Encoder, encode: Callable
) -> None:
    staged = StagedForward(encoder64, 100)
    base = staged.base(encoder64.batch(encode(encoder64)))
    some = torch.rand(base.activations.shape[:2]) < 0.3
    some[3] = False
    assert 3 <= some.sum() < some.numel() / 2
    all_of_them = integrated_gradient(staged, base, everywhere(base))
    expected = all_of_them.view(*some.shape, NEURONS)[some]
    ours = integrated_gradient(staged, base, Places.where(some))
    assert relative(ours, expected) <= 1e-11


def test_the_order_of_prompts_changes_nothing(encoder64: Encoder, encode: Callable) -> None:
    staged = StagedForward(encoder64, EVERYTHING)
    prompts = encode(encoder64)
    order = [4, 0, 6, 2, 1, 5, 3]
    results = []
    for some in (prompts, [prompts[i] for i in order]):
        base = staged.base(encoder64.batch(some))
        gradient = integrated_gradient(staged, base, everywhere(base))
        results.append(gradient.view(len(some), LAYERS, NEURONS))
    assert relative(results[1], results[0][order]) <= 1e-11


def test_a_prompt_alone_gives_what_it_gives_in_a_padded_batch(
    encoder64: Encoder, encode: Callable
) -> None:
    staged = StagedForward(encoder64, EVERYTHING)
    prompts = encode(encoder64)
    base = staged.base(encoder64.batch(prompts))
    together = integrated_gradient(staged, base, everywhere(base)).unflatten(0, (-1, LAYERS))
    zero = staged.scaled_probability(base, everywhere(base), 0.0).view(-1, LAYERS)
    for number, prompt in enumerate(prompts):
        alone = staged.base(encoder64.batch([prompt]))
        places = everywhere(alone)
        for ours, expected in zip(alone.statistics, base.statistics, strict=True):
            torch.testing.assert_close(ours[0], expected[number], rtol=1e-11, atol=1e-11)
        gradient = integrated_gradient(staged, alone, places)
        assert relative(gradient, together[number]) <= 1e-11
        assert (
            relative(staged.scaled_probability(alone, places, 0.0)[None], zero[[number]]) <= 1e-11
        )


def test_replacing_neurons_by_themselves_leaves_logits_equal_to_the_bit(
    encoder: Encoder, encode: Callable
) -> None:
    batch = encoder.batch(encode(encoder))
    hooked = HookedForward(encoder)
    with torch.no_grad():
        plain = encoder.logits(batch)[mask_index(batch.mask_positions)]
        same = hooked.logits(
            batch, {layer: lambda x: x.clone() for layer in range(LAYERS)}, mask_only=False
        )
        # The head at the mask alone is another matrix shape: equal but for rounding.
        short = hooked.logits(batch, {})
    assert torch.equal(plain, same)
    assert relative(short, plain) <= 1e-5


def test_a_changed_neuron_at_the_mask_leaves_the_other_prompts_of_the_batch_alone(
    encoder: Encoder, encode: Callable
) -> None:
    batch = encoder.batch(encode(encoder))
    first = torch.arange(len(batch.answers)) == 0
    with torch.no_grad():
        plain = HookedForward(encoder).logits(batch, {})
        changed = HookedForward(encoder).logits(
            batch, {0: lambda x: torch.where(first[:, None, None], 0, x)}
        )
    assert torch.equal(plain[1:], changed[1:])
    assert not torch.allclose(plain[0], changed[0])


def test_attribution_leaves_the_model_as_it_was(
    make_encoder: Callable, architecture: str, encode: Callable
) -> None:
    encoder = make_encoder(architecture)
    before = fingerprint(encoder.model)
    staged = StagedForward(encoder, 64)
    base = staged.base(encoder.batch(encode(encoder)))
    integrated_gradient(staged, base, everywhere(base))
    assert fingerprint(encoder.model) == before


def test_an_exception_in_the_middle_of_a_climb_leaves_the_model_as_it_was(
    make_encoder: Callable, architecture: str, encode: Callable
) -> None:
    encoder = make_encoder(architecture)
    before = fingerprint(encoder.model)
    staged = StagedForward(encoder, EVERYTHING)
    base = staged.base(encoder.batch(encode(encoder)))
    # Let two layers pass, then break a call in the midst of nested surgery.
    fuse = iter(range(2))

    def out_of_memory(*_: object) -> None:
        if next(fuse, None) is None:
            raise torch.OutOfMemoryError("planted")

    last = encoder.structure.layers[-1]
    inner = next(m for m in last.modules() if isinstance(m, torch.nn.Linear))

    def climbs() -> None:
        for _ in range(4):
            integrated_gradient(staged, base, everywhere(base))

    with inner.register_forward_hook(out_of_memory), pytest.raises(torch.OutOfMemoryError):
        climbs()
    assert fingerprint(encoder.model) == before
    # And it still computes the same.
    again = StagedForward(encoder, EVERYTHING).base(encoder.batch(encode(encoder)))
    for ours, before in zip(again.statistics, base.statistics, strict=True):
        assert torch.equal(ours, before)


def test_a_mixed_precision_gradient_is_finite_and_near_float32(
    encoder: Encoder, encode: Callable
) -> None:
    batch = encoder.batch(encode(encoder))
    staged = StagedForward(encoder, EVERYTHING)
    base = staged.base(batch)
    expected = integrated_gradient(staged, base, everywhere(base))
    with torch.autocast("cpu", torch.bfloat16):
        low = staged.base(batch)
        gradient = integrated_gradient(staged, low, everywhere(low))
        zero = staged.scaled_probability(low, everywhere(low), 0.0)
    assert gradient.dtype == zero.dtype == torch.float32
    assert gradient.isfinite().all()
    error = (gradient - expected).norm(dim=1) / expected.norm(dim=1)
    assert error.median() < 0.1
    assert not torch.equal(gradient, expected)
    unchanged = staged.scaled_probability(base, everywhere(base), 0.0)
    assert ((zero - unchanged).abs() / unchanged).median() < 0.1
    # Probabilities were not rounded to bf16's 8 bits.
    assert not torch.equal(zero, zero.bfloat16().float())


def test_gradients_are_those_of_the_probability_not_of_its_logarithm(
    bert64: Encoder, encode: Callable
) -> None:
    batch = bert64.batch(encode(bert64)[:1])
    staged = StagedForward(bert64, EVERYTHING)
    base = staged.base(batch)
    places = Places((torch.tensor([0]), torch.tensor([1])))
    at_one = quadrature("riemann_right", 1)  # the one node 1, weight 1
    gradient = integrated_gradient(staged, base, places, at_one)[0]
    step = 1e-5
    up = staged.scaled_probability(base, places, 1 + step)
    down = staged.scaled_probability(base, places, 1 - step)
    slope = ((up - down) / (2 * step)).item()
    assert (gradient @ base.activations[0, 1, 0]).item() == pytest.approx(slope, rel=1e-6)
    assert base.statistics.probability.item() != pytest.approx(1, abs=0.1)
