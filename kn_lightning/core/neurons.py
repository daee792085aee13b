"""Scores of a concept's prompts -> coarse neurons of each -> the concept's refined or best ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kn_lightning.schema import Neuron

_SHARES_TRIED = 6
_SHARE_STEP = 0.05


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
    return _with_means(scores, flat[kept], count[kept])


def sized_neurons(
    scores: Tensor,
    coarse: CoarseNeurons,
    share: float,
    inclusive: bool,
    size: tuple[int, int],
) -> RefinedNeurons:
    """Refined neurons at a share that is moved until there are from ``size[0]`` to ``size[1]``.

    The search of Dai et al. (2021), ``src/2_get_kn.py``: at most six shares are tried, 0.05 apart,
    and where none fits, the last one tried stands. Theirs moves one share for all facts of a
    relation, until the *average* fact has a fitting number; here each concept has its own.

    Args:
        scores: ``[B, L, I]`` attributions of the concept's prompts.
        coarse: what :func:`coarse_neurons` gave for them.
        share: to begin with, 0.7 in their code.
        inclusive: as for :func:`refined_neurons`.
        size: the fewest and the most neurons that fit, 2 and 5 in their code.
    """
    fewest, most = size
    refined = refined_neurons(scores, coarse, share, inclusive)
    for _ in range(_SHARES_TRIED - 1):
        n = len(refined.neuron)
        if fewest <= n <= most:
            break
        moved = share + (_SHARE_STEP if n > most else -_SHARE_STEP)
        share = min(max(moved, 0.0), 1.0)
        refined = refined_neurons(scores, coarse, share, inclusive)
    return refined


def given_neurons(
    scores: Tensor, coarse: CoarseNeurons, neurons: Sequence[tuple[int, int]]
) -> RefinedNeurons:
    """Neurons found elsewhere, pairs of layer and neuron, with what these prompts say of them.

    Args:
        scores: ``[B, L, I]`` attributions of the concept's prompts.
        coarse: what :func:`coarse_neurons` gave for them.
        neurons: none twice, ordered by layer and neuron.
    """
    n_neurons = scores.shape[2]
    flat = coarse.layer.new_tensor([layer * n_neurons + neuron for layer, neuron in neurons])
    found = coarse.layer * n_neurons + coarse.neuron
    return _with_means(scores, flat, (found == flat[:, None]).sum(1))


def best_neurons(scores: Tensor, count: int) -> list[Neuron]:
    """The neurons with the largest mean score, best first; of equal ones the lower place.

    Args:
        scores: ``[B, L, I]`` attributions of one concept's prompts.
        count: how many, at most L * I.
    """
    means = scores.mean(0)
    order = means.flatten().argsort(descending=True, stable=True)[:count]
    return [Neuron(*divmod(place, means.shape[1])) for place in order.tolist()]


def _with_means(scores: Tensor, flat: Tensor, count: Tensor) -> RefinedNeurons:
    """Neurons by flat index, coarse in ``count`` prompts; both ``[N]``."""
    layer, neuron = flat // scores.shape[2], flat % scores.shape[2]
    share = count.to(torch.float32) / len(scores)
    return RefinedNeurons(layer, neuron, share, scores[:, layer, neuron].mean(0))
