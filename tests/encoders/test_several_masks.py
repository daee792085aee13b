"""Answers of several tokens: a mask for each, their probability a product, all masks together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kn_lightning.attribution import AttributionSettings, attribute_encoded
from kn_lightning.core.probabilities import answer_statistics, joint_statistics
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.hooked import HookedForward
from kn_lightning.encoders.staged import StagedForward
from kn_lightning.schema import NO_TOKEN, EncodedPrompt

from .test_climb import end_gradients, fewer  # noqa: F401 - a fixture
from .test_discovery import PROJECTIONS
from .test_staged import EVERYTHING, assert_forwards_agree, relative
from .test_staged_edits import assert_equal, edited, random_rows, reference
from .tiny import LAYERS, NEURONS


def masked(encoder: Encoder, prompt: EncodedPrompt, *further: int) -> EncodedPrompt:
    """The prompt with tokens behind its first ones masked as well, in any order, answers kept."""
    ids = list(prompt.input_ids)
    ids[prompt.mask_positions[0]] = prompt.answers[0]
    positions = sorted({prompt.mask_positions[0], *further})
    answers = tuple(ids[position] for position in positions)
    for position in positions:
        ids[position] = encoder.tokenizer.mask_token_id
    return replace(prompt, input_ids=tuple(ids), mask_positions=tuple(positions), answers=answers)


def prompts_of(encoder: Encoder, encode: Callable, n_masks: int) -> list[EncodedPrompt]:
    """Prompts of mixed lengths with so many masks, next to each other or apart."""
    found = []
    for prompt in encode(encoder):
        inside = range(1, len(prompt.input_ids) - 1)
        others = [position for position in inside if position != prompt.mask_positions[0]]
        step = 1 if len(found) % 2 else 2
        if len(others) > step * n_masks:
            found.append(masked(encoder, prompt, *others[::step][: n_masks - 1]))
    assert len(found) >= 4
    assert {len(prompt.answers) for prompt in found} == {n_masks}
    return found


def probability_by_hand(
    encoder: Encoder,
    architecture: str,
    prompt: EncodedPrompt,
    change: Callable[[int, Tensor], Tensor],
) -> Tensor:
    """The product over masks, each layer's neurons there ``[M, I]`` changed by hooks."""
    ids, places = torch.tensor([prompt.input_ids]), list(prompt.mask_positions)
    handles = []
    for layer in range(LAYERS):

        def hook(_: object, args: tuple[Tensor], layer: int = layer) -> tuple[Tensor]:
            rows = list(args[0][0].unbind())
            changed = change(layer, torch.stack([rows[place] for place in places]))
            for place, row in zip(places, changed, strict=True):
                rows[place] = row
            return (torch.stack(rows)[None],)

        module = encoder.model.get_submodule(PROJECTIONS[architecture].format(layer))
        handles.append(module.register_forward_pre_hook(hook))
    logits = encoder.model(input_ids=ids).logits[0]
    for handle in handles:
        handle.remove()
    tokens = [
        logits[place].softmax(-1)[token]
        for place, token in zip(places, prompt.answers, strict=True)
    ]
    return torch.stack(tokens).prod()


@pytest.mark.parametrize("n_masks", [2, 3])
def test_staged_equals_hooked(encoder64: Encoder, encode: Callable, n_masks: int) -> None:
    prompts = prompts_of(encoder64, encode, n_masks)
    assert_forwards_agree(encoder64, prompts)
    assert_forwards_agree(encoder64, prompts, row_tokens=70)
    batch = encoder64.batch(prompts)
    prompt, edits = random_rows(len(prompts), 40)
    expected = reference(encoder64, batch, prompt, edits)
    for row_tokens in (70, EVERYTHING):
        assert_equal(edited(encoder64, batch, prompt, edits, row_tokens), expected)
    ends = end_gradients(HookedForward(encoder64), batch)
    assert relative(end_gradients(StagedForward(encoder64, EVERYTHING), batch), ends) <= 1e-11


def test_an_encoder_with_fewer_traits_gives_the_same(fewer: Encoder, encode: Callable) -> None:  # noqa: F811
    prompts = prompts_of(fewer, encode, 2)
    assert_forwards_agree(fewer, prompts)
    batch = fewer.batch(prompts)
    prompt, edits = random_rows(len(prompts), 40)
    expected = reference(fewer, batch, prompt, edits)
    assert_equal(edited(fewer, batch, prompt, edits, 70), expected)


def test_a_prompt_of_masks_alone(encoder64: Encoder, encode: Callable) -> None:
    prompt = encode(encoder64, [("a [MASK].", "kitten")])[0]
    everything = masked(encoder64, prompt, *range(len(prompt.input_ids)))
    assert_forwards_agree(encoder64, [everything, everything])


def test_scores_equal_an_integral_by_hand(
    architecture: str, encoder64: Encoder, encode: Callable
) -> None:
    prompt = prompts_of(encoder64, encode, 3)[1]
    result = attribute_encoded(encoder64, [prompt], AttributionSettings("gauss_legendre", 6))
    with torch.no_grad():
        neurons: dict[int, Tensor] = {}
        whole = probability_by_hand(
            encoder64, architecture, prompt, lambda layer, w: neurons.setdefault(layer, w)
        )
    torch.testing.assert_close(result.probability[0], whole)
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(6)
    for layer in range(LAYERS):
        total = torch.zeros(NEURONS, dtype=torch.float64)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            path = (node * neurons[layer]).requires_grad_(True)
            found = probability_by_hand(
                encoder64,
                architecture,
                prompt,
                lambda at, w, path=path, layer=layer: path if at == layer else w,
            )
            (gradient,) = torch.autograd.grad(found, path)
            total += weight * (gradient * neurons[layer]).sum(0)
        expected = result.scores[0, layer]
        torch.testing.assert_close(total, expected, rtol=1e-6, atol=1e-9 * float(whole))


def test_completeness_holds(encoder64: Encoder, encode: Callable) -> None:
    prompts = prompts_of(encoder64, encode, 2)
    result = attribute_encoded(encoder64, prompts, AttributionSettings(tolerance=1e-3))
    torch.testing.assert_close(result.scores.sum(-1) - result.residual, result.total)
    assert (result.residual.abs() <= 1e-3 * result.total.abs().amax(1, keepdim=True)).all()


def test_prompts_of_one_mask_and_of_several_go_together(
    encoder64: Encoder, encode: Callable
) -> None:
    one, two, three = encode(encoder64), *(prompts_of(encoder64, encode, n) for n in (2, 3))
    mixed = [three[0], one[0], two[0], one[1], three[1], two[1]]
    settings = AttributionSettings("gauss_legendre", 4)
    together = attribute_encoded(encoder64, mixed, settings)
    assert together.argmax.shape == (6, 3)
    for number, prompt in enumerate(mixed):
        alone = attribute_encoded(encoder64, [prompt], settings)
        torch.testing.assert_close(alone.scores[0], together.scores[number])
        torch.testing.assert_close(alone.log_odds[0], together.log_odds[number])
        padded = [*alone.argmax[0].tolist(), NO_TOKEN, NO_TOKEN][:3]
        assert together.argmax[number].tolist() == padded


def test_edits_act_at_all_masks(architecture: str, encoder64: Encoder, encode: Callable) -> None:
    prompt = prompts_of(encoder64, encode, 2)[0]
    neurons = [(0, 3), (0, 11), (2, 0)]
    scale = torch.ones(LAYERS, NEURONS, dtype=torch.float64)
    for layer, neuron in neurons:
        scale[layer, neuron] = 0.0
    with torch.no_grad():
        expected = probability_by_hand(
            encoder64, architecture, prompt, lambda layer, w: w * scale[layer]
        )
        untouched = probability_by_hand(encoder64, architecture, prompt, lambda _, w: w)
    batch = encoder64.batch([prompt])
    with encoder64.edited(neurons, 0.0), torch.no_grad():
        found = joint_statistics(
            answer_statistics(
                encoder64.logits(batch)[:, list(prompt.mask_positions)], batch.answers
            )
        )
    torch.testing.assert_close(found.probability[0], expected)
    assert not torch.isclose(untouched, expected)


def test_the_joint_statistics_of_tokens() -> None:
    logits = torch.randn(5, 3, 11, dtype=torch.float64)
    answers = torch.randint(11, (5, 3))
    joint = joint_statistics(answer_statistics(logits, answers))
    each = logits.softmax(-1).gather(-1, answers[..., None])[..., 0]
    expected = each[:, 0] * each[:, 1] * each[:, 2]
    torch.testing.assert_close(joint.probability, expected)
    torch.testing.assert_close(joint.log_odds, (expected / (1 - expected)).log())
    places = logits.argsort(-1, descending=True)
    ranks = (places == answers[..., None]).nonzero()[:, 2].view(5, 3) + 1
    assert torch.equal(joint.rank, ranks.amax(1))
    assert torch.equal(joint.argmax, logits.argmax(-1))


def test_the_joint_log_odds_of_near_certain_tokens_keep_their_digits() -> None:
    odds = torch.tensor([[40.0, 41.0], [60.0, 38.0]], dtype=torch.float64)
    sure = torch.ones_like(odds)
    tokens = answer_statistics(torch.zeros(2, 2, 3), torch.zeros(2, 2, dtype=torch.long))
    joint = joint_statistics(tokens._replace(probability=sure, log_odds=odds))
    # 1 - P is the sum of the tokens' 1 - p, as far as doubles go.
    expected = -(-odds).exp().sum(1).log()
    torch.testing.assert_close(joint.log_odds, expected)
