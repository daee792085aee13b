"""Attributions beside integrated gradients: against captum, autograd and hooks written by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
import torch
from captum.attr import LayerActivation, LayerGradientXActivation
from encoders.tiny import LAYERS, NEURONS, PROMPTS
from torch import Tensor

from kn_lightning import attribute
from kn_lightning.attribution import attribute_encoded, compare_encoded, row_budget
from kn_lightning.core.baselines import completed
from kn_lightning.core.registry import ATTRIBUTIONS, AttributionSettings
from kn_lightning.errors import InputError
from kn_lightning.schema import Attribution, EncodedPrompt

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder

TEXTS, ANSWERS = (list(column) for column in zip(*PROMPTS, strict=True))
NAMES = ["activation", "gradient_activation", "ablation"]


def output(encoder: Encoder, layer: int) -> torch.nn.Module:
    """The tiny BERT's second linear map, whose input the neurons are."""
    module: torch.nn.Module = encoder.model.bert.encoder.layer[layer].output.dense
    return module


def answer_probability(encoder: Encoder, prompt: EncodedPrompt) -> Callable[[Tensor], Tensor]:
    """P of the answer by the model's own forward."""

    def probability(ids: Tensor) -> Tensor:
        logits = encoder.model(input_ids=ids).logits[:, prompt.mask_positions[0]]
        return logits.softmax(-1)[:, prompt.answers[0]]

    return probability


@pytest.mark.parametrize("name", ["activation", "gradient_activation"])
def test_scores_equal_captums(bert64: Encoder, encode: Callable, name: str) -> None:
    ours = attribute(bert64, TEXTS, ANSWERS, attribution=name).scores
    for row, prompt in enumerate(encode(bert64)):
        ids = torch.tensor([prompt.input_ids])
        for layer in range(LAYERS):
            kind = LayerActivation if name == "activation" else LayerGradientXActivation
            method = kind(answer_probability(bert64, prompt), output(bert64, layer))
            with torch.enable_grad():
                # captum asks for gradients of what the embeddings give.
                bert64.model.requires_grad_(True)
                theirs = method.attribute(ids, attribute_to_layer_input=True)
                bert64.model.requires_grad_(False)
            theirs = theirs[0, prompt.mask_positions[0]].detach()
            torch.testing.assert_close(ours[row, layer], theirs, rtol=1e-9, atol=1e-14)


def ablated_by_hand(encoder: Encoder, prompt: EncodedPrompt, layer: int, neuron: int) -> float:
    """P of the answer with one neuron at 0 at the mask, by a hook."""

    def zero(_: object, args: tuple[Tensor]) -> tuple[Tensor]:
        changed = args[0].clone()
        changed[:, prompt.mask_positions[0], neuron] = 0
        return (changed,)

    with torch.no_grad(), output(encoder, layer).register_forward_pre_hook(zero):
        return float(answer_probability(encoder, prompt)(torch.tensor([prompt.input_ids])))


def test_ablation_is_the_difference_that_a_hook_makes(bert64: Encoder, encode: Callable) -> None:
    prompts = encode(bert64)[:3]
    settings = AttributionSettings(attribution="ablation")
    result = attribute_encoded(bert64, prompts, settings)
    for row, prompt in enumerate(prompts):
        for layer in range(LAYERS):
            for neuron in range(NEURONS):
                expected = float(result.probability[row]) - ablated_by_hand(
                    bert64, prompt, layer, neuron
                )
                ours = float(result.scores[row, layer, neuron])
                assert ours == pytest.approx(expected, rel=1e-8, abs=1e-13)
    assert (result.evaluations == NEURONS).all()


@pytest.mark.parametrize("name", NAMES)
def test_all_architectures_agree_with_whole_forward_passes(
    encoder64: Encoder, encode: Callable, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kn_lightning.encoders.hooked import HookedForward

    prompts, settings = encode(encoder64)[:4], AttributionSettings(attribution=name)
    fast = attribute_encoded(encoder64, prompts, settings)
    monkeypatch.setattr("kn_lightning.attribution.fastest_forward", HookedForward)
    slow = attribute_encoded(encoder64, prompts, settings)
    for field in fields(Attribution):
        ours, theirs = (getattr(result, field.name) for result in (fast, slow))
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_records_have_the_totals_of_integrated_gradients_and_what_is_missed(
    bert: Encoder, name: str
) -> None:
    ours = attribute(bert, TEXTS, ANSWERS, attribution=name)
    theirs = attribute(bert, TEXTS, ANSWERS)
    for key in ("total", "probability", "rank", "argmax", "log_odds", "activations"):
        torch.testing.assert_close(getattr(ours, key), getattr(theirs, key))
    torch.testing.assert_close(ours.residual, ours.scores.sum(-1) - ours.total)
    assert ours.scores.dtype == theirs.scores.dtype
    assert not torch.allclose(ours.scores, theirs.scores, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_scores_do_not_depend_on_what_is_computed_together(
    bert64: Encoder, encode: Callable, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = attribute_encoded(bert64, encode(bert64), AttributionSettings(attribution=name))
    monkeypatch.setattr("kn_lightning.core.baselines._TOGETHER", 7)
    settings = AttributionSettings(attribution=name, row_tokens=30)
    cut = attribute_encoded(bert64, encode(bert64), settings)
    torch.testing.assert_close(cut.scores, whole.scores, rtol=1e-9, atol=1e-14)


def test_gradient_times_activation_is_the_last_slope_of_the_path(bert64: Encoder) -> None:
    ends = attribute(bert64, TEXTS, ANSWERS, "riemann_right", 1)  # one node, at the end
    ours = attribute(bert64, TEXTS, ANSWERS, attribution="gradient_activation")
    torch.testing.assert_close(ours.scores, ends.scores, rtol=1e-9, atol=1e-14)


def test_an_attribution_from_outside_is_used_by_its_name(
    bert: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def size(forward: Any, base: Any, settings: AttributionSettings) -> Attribution:
        return completed(forward, base, base.activations.abs().mean(2), evaluations=3)

    monkeypatch.setitem(ATTRIBUTIONS, "size", size)
    result = attribute(bert, TEXTS, ANSWERS, attribution="size")
    assert torch.equal(result.scores, result.activations.abs())
    assert (result.evaluations == 3).all()


def test_scores_of_another_shape_are_refused(
    bert: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(forward: Any, base: Any, settings: AttributionSettings) -> Attribution:
        return completed(forward, base, base.activations[..., 0, 0])

    monkeypatch.setitem(ATTRIBUTIONS, "wrong", wrong)
    with pytest.raises(InputError, match=r"scores are \[1, 3\]: give.*here \[1, 3, 24\]"):
        attribute(bert, TEXTS[:1], ANSWERS[:1], attribution="wrong")


# Comparison


def compared_with(encoder: Encoder, encode: Callable, **settings: Any) -> tuple[Attribution, Any]:
    """The study's own attribution and those it is compared with."""
    chosen = AttributionSettings(**settings)
    prompts = encode(encoder)
    own = attribute_encoded(encoder, prompts, chosen)
    budget = row_budget(chosen, encoder)
    return own, compare_encoded(encoder, prompts, own.scores, chosen, budget)


def test_compared_scores_are_those_of_a_study_of_their_own(
    bert64: Encoder, encode: Callable
) -> None:
    names = ("activation", "gradient_activation")
    own, found = compared_with(bert64, encode, compare=names, row_tokens=60, candidates=5)
    assert tuple(found) == names
    for name in names:
        alone = attribute(bert64, TEXTS, ANSWERS, attribution=name).scores
        torch.testing.assert_close(found[name].scores, alone, rtol=1e-9, atol=1e-14)
        for row in range(len(TEXTS)):
            best = {*best_of(own.scores[row], 5), *best_of(alone[row], 5)}
            assert set(found[name].candidates[row].flatten().nonzero()[:, 0].tolist()) == best


def best_of(scores: Tensor, n: int) -> list[int]:
    return scores.flatten().argsort(descending=True)[:n].tolist()  # type: ignore[no-any-return]


def test_compared_ablation_is_of_the_best_of_own_and_of_its_estimate(
    bert64: Encoder, encode: Callable
) -> None:
    own, found = compared_with(bert64, encode, compare=("ablation",), candidates=6, row_tokens=60)
    scores, candidates = found["ablation"]
    alone = attribute(bert64, TEXTS, ANSWERS, attribution="ablation").scores
    estimate = attribute(bert64, TEXTS, ANSWERS, attribution="gradient_activation").scores
    assert torch.equal(candidates, ~scores.isnan())
    torch.testing.assert_close(scores[candidates], alone[candidates], rtol=1e-8, atol=1e-13)
    for row in range(len(TEXTS)):
        best = {*best_of(own.scores[row], 6), *best_of(estimate[row], 6)}
        assert set(candidates[row].flatten().nonzero()[:, 0].tolist()) == best


def test_as_many_candidates_as_neurons_are_all_of_them(bert64: Encoder, encode: Callable) -> None:
    _, found = compared_with(bert64, encode, compare=("ablation",), candidates=10**6)
    alone = attribute(bert64, TEXTS, ANSWERS, attribution="ablation").scores
    torch.testing.assert_close(found["ablation"].scores, alone, rtol=1e-8, atol=1e-13)


def test_integrated_gradients_can_be_what_another_is_compared_with(
    bert64: Encoder, encode: Callable
) -> None:
    _, found = compared_with(
        bert64, encode, rule="gauss_legendre", nodes=4, attribution="activation",
        compare=("integrated_gradients",),
    )  # fmt: skip
    alone = attribute(bert64, TEXTS, ANSWERS, "gauss_legendre", 4).scores
    torch.testing.assert_close(found["integrated_gradients"].scores, alone, rtol=1e-9, atol=1e-14)
