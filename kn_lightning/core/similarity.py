"""Scores of a pack's prompts -> how alike those of each concept are, beside different concepts'."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor


class Similarity(NamedTuple):
    """One entry a concept, NaN where undefined; both ``[G]`` float64.

    Attributes:
        own: n-sample similarity of the scores of the concept's n prompts.
        between: the same of sets of prompts of different concepts, mean over n sets.
    """

    own: Tensor
    between: Tensor


def cosines(scores: Tensor) -> Tensor:
    """Cosines of all pairs of prompts' scores, over all layers and neurons.

    Args:
        scores: ``[B, L, I]`` attributions.

    Returns:
        ``[B, B]`` float64. Rows and columns of a prompt whose scores are all zero, or not all
        finite, are NaN: they have no direction.
    """
    # In float64, so that the number of threads, which orders the sums, doesn't show in float32;
    # a layer at a time, so that no second copy of all scores is needed.
    gram = torch.zeros(len(scores), len(scores), dtype=torch.float64, device=scores.device)
    for layer in scores.unbind(1):
        wide = layer.double()
        gram.addmm_(wide, wide.T)
    length = gram.diagonal().sqrt()
    return gram / length[:, None] / length


def n_sample_similarity(cosines: Tensor) -> Tensor:
    r"""How far n vectors lie on one line (Niu et al. 2024, arXiv 2405.02421).

    .. math:: (s_1^2 - 1) / (n - 1)

    of :math:`s_1`, the largest singular value of the matrix of the vectors, each of length 1; its
    square is the largest eigenvalue of the matrix of their cosines.

    Args:
        cosines: ``[..., n, n]``, symmetric, ones on the diagonal.

    Returns:
        ``[...]``: 0 where all are orthogonal, 1 where all lie on one line, never outside. It knows
        no sign, for two vectors it is :math:`|\cos|`, and it is at least the mean cosine of all
        pairs. NaN for one vector, and where a cosine is.
    """
    n = cosines.shape[-1]
    defined = cosines.isfinite().all(-1).all(-1)
    if n < 2:
        return cosines.new_full(cosines.shape[:-2], torch.nan)
    largest = torch.linalg.eigvalsh(torch.where(defined[..., None, None], cosines, 0))[..., -1]
    return torch.where(defined, (largest - 1) / (n - 1), torch.nan).clamp(0, 1)


def group_similarity(scores: Tensor, sizes: Sequence[int]) -> Similarity:
    """The similarity of each concept's scores, and what prompts of different concepts give.

    A set of different concepts has one prompt of each of n: the concept itself and those that
    follow it, the last followed by the first; its j-th set takes the j-th prompt of the concept,
    the next one of the next concept, and so on, so that wordings differ as within a concept. Where
    there are fewer than n concepts, it has one of each; of a part of such vectors the similarity is
    rather larger than of all.

    Args:
        scores: ``[B, L, I]`` attributions, concept after concept.
        sizes: of G concepts, how many prompts each has.
    """
    pairs = cosines(scores)
    starts = [0, *accumulate(sizes)]
    own, between = [], []
    for place, n in enumerate(sizes):
        here = slice(starts[place], starts[place] + n)
        own.append(n_sample_similarity(pairs[here, here]))
        others = [(place + step) % len(sizes) for step in range(min(n, len(sizes)))]
        rows = torch.tensor(
            [
                [starts[o] + (turn + step) % sizes[o] for step, o in enumerate(others)]
                for turn in range(n)
            ],
            device=pairs.device,
        )
        sets = pairs[rows[:, :, None], rows[:, None, :]]
        between.append(n_sample_similarity(sets).nanmean())
    return Similarity(torch.stack(own), torch.stack(between))
