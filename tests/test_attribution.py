"""``attribute``: the public way from sentences to scores, and that these are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from encoders.tiny import LAYERS, NEURONS, PROMPTS

from kn_lightning import attribute
from kn_lightning.attribution import (
    AttributionSettings,
    attribute_encoded,
)
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import Attribution, EncodedPrompt

TEXTS, ANSWERS = (list(column) for column in zip(*PROMPTS, strict=True))


# What comes out


def test_the_result_has_the_shapes_and_types_of_the_contract(encoder: Encoder) -> None:
    result = attribute(encoder, TEXTS, ANSWERS)
    n = len(TEXTS)
    assert result.scores.shape == (n, LAYERS, NEURONS)
    for name in ("total", "residual", "evaluations"):
        assert getattr(result, name).shape == (n, LAYERS), name
    for name in ("probability", "rank", "log_odds"):
        assert getattr(result, name).shape == (n,), name
    assert result.argmax.shape == (n, 1)
    for name in ("scores", "total", "residual", "probability", "log_odds"):
        assert getattr(result, name).dtype == torch.float32, name
        assert getattr(result, name).isfinite().all(), name
    for name in ("evaluations", "rank", "argmax"):
        assert getattr(result, name).dtype == torch.int64, name


def test_the_result_is_plain_numbers_on_the_cpu(encoder: Encoder) -> None:
    for field in fields(Attribution):
        tensor = getattr(attribute(encoder, TEXTS[:2], ANSWERS[:2]), field.name)
        assert tensor.device.type == "cpu"
        assert not tensor.requires_grad
        assert tensor.grad_fn is None


def test_probability_rank_and_argmax_are_those_of_a_plain_forward_pass(encoder: Encoder) -> None:
    result = attribute(encoder, TEXTS, ANSWERS, "riemann_left", 1)
    tokenizer = encoder.tokenizer
    for row, (text, answer) in enumerate(PROMPTS):
        ids = tokenizer(text.replace("[MASK]", tokenizer.mask_token), return_tensors="pt").input_ids
        mask = (ids[0] == tokenizer.mask_token_id).nonzero().item()
        with torch.no_grad():
            logits = encoder.model(input_ids=ids).logits[0, mask]
        filled = tokenizer(text.replace("[MASK]", answer)).input_ids
        own = logits.double().softmax(-1)[filled[mask]].item()
        assert result.probability[row].item() == pytest.approx(own, rel=1e-4)
        assert result.argmax[row] == logits.argmax()
        assert result.rank[row] == (logits > logits[filled[mask]]).sum() + 1


def test_scores_add_up_within_the_tolerance(encoder: Encoder) -> None:
    for tolerance in (0.05, 0.001):
        result = attribute(encoder, TEXTS, ANSWERS, tolerance=tolerance)
        largest = result.total.abs().amax(1, keepdim=True)
        assert (result.residual.abs() <= tolerance * largest).all()
        torch.testing.assert_close(
            result.scores.sum(-1) - result.total, result.residual, rtol=1e-3, atol=1e-6
        )


def test_prompts_come_back_in_the_order_in_which_they_were_given(bert64: Encoder) -> None:
    result = attribute(bert64, TEXTS, ANSWERS, "gauss_legendre", 3)
    for row in range(len(TEXTS)):
        alone = attribute(bert64, [TEXTS[row]], [ANSWERS[row]], "gauss_legendre", 3)
        for field in fields(Attribution):
            torch.testing.assert_close(
                getattr(alone, field.name)[0],
                getattr(result, field.name)[row],
                rtol=1e-8,
                atol=1e-12,
            )


def test_one_prompt_may_be_asked_for_several_answers(bert64: Encoder) -> None:
    text = TEXTS[2]
    result = attribute(bert64, [text] * 3, ["kitten", "puppy", "kitten"], "gauss_legendre", 3)
    torch.testing.assert_close(result.scores[0], result.scores[2], rtol=1e-9, atol=1e-14)
    assert not torch.allclose(result.scores[0], result.scores[1])


@pytest.mark.parametrize("row_tokens", [1, 50, 333, None])
def test_results_do_not_depend_on_how_much_is_computed_together(
    encoder64: Encoder, encode: Callable, row_tokens: int | None
) -> None:
    prompts = encode(encoder64)
    settings = AttributionSettings("gauss_legendre", 5, row_tokens=row_tokens)
    whole = AttributionSettings("gauss_legendre", 5, row_tokens=10**6)
    ours = attribute_encoded(encoder64, prompts, settings)
    reference = attribute_encoded(encoder64, prompts, whole)
    for field in fields(Attribution):
        torch.testing.assert_close(
            getattr(ours, field.name), getattr(reference, field.name), rtol=1e-8, atol=1e-13
        )


# That it is right: against finite differences, and against sums written out


def test_scores_equal_a_fine_sum_of_finite_differences(bert64: Encoder, encode: Callable) -> None:
    (prompt,) = encode(bert64, PROMPTS[1:2])
    ids, mask = torch.tensor([prompt.input_ids]), prompt.mask_positions[0]
    result = attribute(bert64, [TEXTS[1]], [ANSWERS[1]], "gauss_legendre", 48)
    for layer in range(LAYERS):
        module = bert64.model.bert.encoder.layer[layer].output.dense
        activation = neurons_of(bert64, module, ids)[mask]
        for neuron in (0, 7, NEURONS - 1):
            points, step, total = 100, 1e-5, 0.0
            for k in range(points):  # midpoints: an error of 1 / points^2
                path = (k + 0.5) / points * activation
                nudge = torch.zeros(NEURONS, dtype=torch.float64)
                nudge[neuron] = step
                both = torch.stack([path + nudge, path - nudge])
                up, down = probabilities(bert64, module, prompt, both)
                total += (up - down).item() / (2 * step) / points
            expected = activation[neuron].item() * total
            assert result.scores[0, layer, neuron].item() == pytest.approx(
                expected, rel=1e-3, abs=1e-8
            )


def test_the_gradient_at_the_untouched_activation_equals_finite_differences(
    bert64: Encoder, encode: Callable
) -> None:
    (prompt,) = encode(bert64, PROMPTS[4:5])
    ids, mask = torch.tensor([prompt.input_ids]), prompt.mask_positions[0]
    # The right sum of one node looks at alpha = 1 alone: w dP/dw.
    result = attribute(bert64, [TEXTS[4]], [ANSWERS[4]], "riemann_right", 1)
    for layer in range(LAYERS):
        module = bert64.model.bert.encoder.layer[layer].output.dense
        activation = neurons_of(bert64, module, ids)[mask]
        step = 1e-5
        nudges = step * torch.eye(NEURONS, dtype=torch.float64)
        up = probabilities(bert64, module, prompt, activation + nudges)
        down = probabilities(bert64, module, prompt, activation - nudges)
        expected = activation * (up - down) / (2 * step)
        scale = expected.abs().max()
        assert (result.scores[0, layer] - expected).abs().max() <= 1e-6 * scale


def test_totals_are_the_probability_without_the_layers_neurons(
    bert64: Encoder, encode: Callable
) -> None:
    result = attribute(bert64, TEXTS, ANSWERS, "riemann_left", 1)
    for row, prompt in enumerate(encode(bert64)):
        for layer in range(LAYERS):
            module = bert64.model.bert.encoder.layer[layer].output.dense
            none = torch.zeros(1, NEURONS, dtype=torch.float64)
            without = probabilities(bert64, module, prompt, none).item()
            expected = result.probability[row].item() - without
            assert result.total[row, layer].item() == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_the_neurons_path_equals_ablation_by_hand(bert64: Encoder, encode: Callable) -> None:
    prompts = encode(bert64)[:3]
    settings = AttributionSettings("gauss_legendre", 5, path="neuron", candidates=10)
    result = attribute_encoded(bert64, prompts, settings)
    layers = attribute_encoded(bert64, prompts, AttributionSettings("gauss_legendre", 5))
    for row, prompt in enumerate(prompts):
        ids, mask = torch.tensor([prompt.input_ids]), prompt.mask_positions[0]
        found = result.scores[row].nonzero().tolist()
        best = layers.scores[row].flatten().topk(10).indices.tolist()
        assert sorted(layer * NEURONS + neuron for layer, neuron in found) == sorted(best)
        for layer, neuron in found:
            module = bert64.model.bert.encoder.layer[layer].output.dense
            changed = neurons_of(bert64, module, ids)[mask].clone()
            changed[neuron] = 0
            without = probabilities(bert64, module, prompt, changed[None]).item()
            expected = result.probability[row].item() - without
            ours = result.scores[row, layer, neuron].item()
            assert ours == pytest.approx(expected, rel=1e-8, abs=1e-13)
    assert (result.evaluations.sum(1) == layers.evaluations.sum(1) + 10).all()


def neurons_of(encoder: Encoder, module: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    with torch.no_grad(), module.register_forward_pre_hook(lambda _, args: seen.append(args[0][0])):
        encoder.model(input_ids=ids)
    return seen[0]


def probabilities(
    encoder: Encoder, module: torch.nn.Module, prompt: EncodedPrompt, neurons: torch.Tensor
) -> torch.Tensor:
    """P of the answer with each row of ``neurons`` at the mask, all in plain forward passes."""

    def patch(_: object, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        patched = args[0].clone()
        patched[:, prompt.mask_positions[0]] = neurons
        return (patched,)

    ids = torch.tensor([prompt.input_ids]).expand(len(neurons), -1)
    with torch.no_grad(), module.register_forward_pre_hook(patch):
        logits = encoder.model(input_ids=ids).logits[:, prompt.mask_positions[0]]
    return logits.softmax(-1)[:, prompt.answers[0]]
