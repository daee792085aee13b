"""A base pass -> attributions that integrate nothing: what integrated gradients are compared with.

With w a neuron's activation and P the probability of the answer at the mask::

    activation           w_i                        the baseline of Dai et al. (2022)
    gradient_activation  w_i * dP(w)/dw_i           Shrikumar et al. (2016), "gradient * input"
    ablation             P(w) - P(w with w_i := 0)  the effect itself, by one forward row each

The second is the first-order estimate of the third (Nanda 2023, "attribution patching"; Molchanov
et al. 2017), and integrated gradients lie between the two: they follow the path down to 0, but
along all neurons of the layer at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kn_lightning.core.forward import Base, BasePass, Forward, Places
from kn_lightning.errors import InputError
from kn_lightning.schema import Attribution

_TOGETHER = 1 << 14
"""Rows that are ablated by one call: bounds the index tensors of a whole encoder's neurons."""


def activation_attribution(
    forward: Forward[Base], base: Base, _settings: object = None
) -> Attribution:
    """The activation itself, without regard to the answer.

    Signed, as in Dai et al.'s definition Attr_base(w) = w: what an activation function leaves of a
    negative input is small, and speaks for no neuron. Of several masks the mean.
    """
    return completed(forward, base, base.activations.mean(2))


def gradient_activation_attribution(
    forward: Forward[Base], base: Base, _settings: object = None
) -> Attribution:
    """Activation times the slope of P at the untouched encoder, of all layers by one backward.

    Args:
        forward: the encoder.
        base: a base pass with its slope.
    """
    assert base.end_gradient is not None, "the base pass has to be made with its slope"
    ends = base.end_gradient.flatten(0, 1)
    gradient = forward.neuron_gradient(base, everywhere(base), ends)
    scores = times_activations(base, gradient.view(base.activations.shape))
    return completed(forward, base, scores, evaluations=1)


def ablation_attribution(
    forward: Forward[Base], base: Base, _settings: object = None
) -> Attribution:
    """The exact effect of each neuron alone, L * I forward rows a prompt."""
    n_prompts, n_layers, n_neurons = scores_like(base).shape
    flat = torch.arange(n_prompts * n_layers * n_neurons, device=base.activations.device)
    effects = ablation_effect(forward, base, flat)
    return completed(forward, base, effects.view(n_prompts, n_layers, n_neurons), n_neurons)


def ablation_effect(forward: Forward[Base], base: Base, flat: Tensor) -> Tensor:
    """P(w) - P(w with one neuron at 0), ``[N]``, of neurons by flat index into ``[B, L, I]``.

    No quadrature: along one neuron's own path the integral of the gradient is this difference.
    """
    _, n_layers, n_neurons = scores_like(base).shape
    probability = base.statistics.probability
    effects = [probability.new_empty(0)]
    for some in flat.split(_TOGETHER):
        prompt, layer = some // (n_layers * n_neurons), some // n_neurons % n_layers
        ablated = forward.ablated_probability(base, Places((prompt, layer)), some % n_neurons)
        effects.append(probability[prompt] - ablated)
    return torch.cat(effects)


def completed(
    forward: Forward[Base], base: Base, scores: Tensor, evaluations: int = 0
) -> Attribution:
    """The record of any scores ``[B, L, I]``, with each layer's total and what they miss of it.

    The residual is recorded for all attributions alike; only those that are complete by
    construction make an error of it.

    Args:
        forward: the encoder.
        base: its base pass.
        scores: of every neuron.
        evaluations: gradients (or ablated rows) that a prompt's layer took.

    Raises:
        InputError: scores of another shape.
    """
    statistics, expected = base.statistics, scores_like(base)
    if scores.shape != expected.shape:
        raise InputError(
            f"an attribution's scores are {list(scores.shape)}: give [prompts, layers, neurons],"
            f" here {list(expected.shape)}"
        )
    scores = scores.to(expected.dtype)
    at_zero = forward.scaled_probability(base, everywhere(base), 0.0).view(expected.shape[:2])
    total = statistics.probability[:, None] - at_zero
    return Attribution(
        scores, total, scores.sum(-1) - total, statistics.probability,
        torch.full_like(total, evaluations, dtype=torch.long),
        statistics.rank, statistics.argmax, statistics.log_odds,
        base.activations.to(scores.dtype).mean(2),
    )  # fmt: skip


def times_activations(base: BasePass, weight: Tensor) -> Tensor:
    """``[B, L, I]``: activations times ``weight`` ``[B, L, M, I]``, summed over masks."""
    return (base.activations.to(scores_like(base).dtype) * weight).sum(2)


def scores_like(base: BasePass) -> Tensor:
    """An empty tensor of the shape ``[B, L, I]`` and the type of scores, without memory."""
    n_prompts, n_layers, _, n_neurons = base.activations.shape
    dtype = torch.promote_types(base.statistics.probability.dtype, torch.float32)
    return torch.empty(n_prompts, n_layers, n_neurons, dtype=dtype, device="meta")


def everywhere(base: BasePass) -> Places:
    """The places of all layers of all prompts, ``[B * L]``."""
    return Places.where(torch.ones_like(base.activations[..., 0, 0], dtype=torch.bool))
