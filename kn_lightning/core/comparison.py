"""A base pass and the study's own scores -> the scores of another attribution beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from kn_lightning.core.baselines import ablation_effect, gradient_activation_attribution
from kn_lightning.core.forward import Base, Forward
from kn_lightning.core.registry import ABLATION, ATTRIBUTIONS, AttributionSettings


class Compared(NamedTuple):
    """Another attribution of the same prompts, both ``[B, L, I]``.

    ``scores`` are NaN where they were not computed. ``candidates`` marks the neurons that are among
    the best of either attribution: where it matters how the two rank them.
    """

    scores: Tensor
    candidates: Tensor


def compared(
    name: str, forward: Forward[Base], base: Base, own: Tensor, settings: AttributionSettings
) -> Compared:
    """Scores of the attribution ``name``, with the best ``settings.candidates`` of it and of own.

    Exact ablation of all neurons would cost a hundred times as much as the study itself, so of
    ``ablation`` only candidates are computed: the best of own, and the best by its first-order
    estimate, gradient times activation. With as many candidates as there are neurons that is all.

    Args:
        name: in ``ATTRIBUTIONS``.
        forward: the encoder.
        base: a base pass with its slope.
        own: ``[B, L, I]``, what the study itself computed.
        settings: of the study.
    """
    own = own.to(base.activations.device)
    if name == ABLATION:
        estimate = gradient_activation_attribution(forward, base).scores
        candidates = _best(own, settings.candidates) | _best(estimate, settings.candidates)
        scores = torch.full_like(own, torch.nan)
        flat = candidates.flatten().nonzero()[:, 0]
        scores[candidates] = ablation_effect(forward, base, flat).to(scores.dtype)
        return Compared(scores, candidates)
    # path=neuron is a way of the study's own attribution to choose its candidates.
    scores = ATTRIBUTIONS[name](forward, base, replace(settings, path="layer")).scores
    best = _best(own, settings.candidates) | _best(scores, settings.candidates)
    return Compared(scores.to(own.dtype), best)


def _best(scores: Tensor, n: int) -> Tensor:
    """Where ``[B, L, I]`` the ``n`` largest scores of each prompt are."""
    flat = scores.flatten(1)
    best = torch.zeros_like(flat, dtype=torch.bool)
    indices = flat.topk(min(n, flat.shape[1]), dim=1).indices
    return best.scatter_(1, indices, True).view_as(scores)
