"""Scores of a concept's prompts -> coarse neurons of each -> refined neurons of the concept."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class CoarseNeurons(NamedTuple):
    """One entry a coarse neuron, ordered by prompt, layer and neuron; all ``[N]``."""

    prompt: Tensor
    layer: Tensor
    neuron: Tensor
    score: Tensor


class RefinedNeurons(NamedTuple):
    """One entry a refined neuron, ordered by layer and neuron; all ``[N]``.

    ``share`` is the share of the concept's prompts in which the neuron is coarse, ``score`` its
    mean attribution over all of them.
    """

    layer: Tensor
    neuron: Tensor
    share: Tensor
    score: Tensor


def coarse_neurons(scores: Tensor, threshold: float) -> CoarseNeurons:
    """Neurons whose score exceeds ``threshold`` times the largest of their own prompt.

    Args:
        scores: ``[B, L, I]`` attributions.
        threshold: t of the paper, 0.2 there.

    Returns:
        The coarse neurons of all prompts. A prompt whose largest score is not positive has none:
        its answer owes nothing to any layer's neurons, and a threshold below zero would admit all
        of them.
    """
    largest = scores.amax((1, 2), keepdim=True)
    coarse = (scores > threshold * largest) & (largest > 0)
    prompt, layer, neuron = coarse.nonzero(as_tuple=True)
    return CoarseNeurons(prompt, layer, neuron, scores[prompt, layer, neuron])


def refined_neurons(
    scores: Tensor, coarse: CoarseNeurons, share: float, inclusive: bool = True
) -> RefinedNeurons:
    """Neurons that are coarse in at least the share ``share`` of one concept's prompts.

    Args:
        scores: ``[B, L, I]`` attributions of the concept's prompts.
        coarse: what :func:`coarse_neurons` gave for them.
        share: p of the paper, 0.5 there.
        inclusive: "p % or more", as the paper says; False is "more than p %", as its code does.
    """
    n_prompts, _, n_neurons = scores.shape
    flat, count = (coarse.layer * n_neurons + coarse.neuron).unique(return_counts=True)
    # In whole prompts, with room for the rounding of share * n: 0.55 * 20 is 11.000000000000002.
    needed = share * n_prompts
    kept = count >= needed - 1e-9 if inclusive else count > needed + 1e-9
    layer, neuron = flat[kept] // n_neurons, flat[kept] % n_neurons
    return RefinedNeurons(
        layer, neuron, count[kept].to(torch.float32) / n_prompts, scores[:, layer, neuron].mean(0)
    )
