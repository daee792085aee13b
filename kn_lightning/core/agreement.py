"""Two attributions of a prompt -> how far they agree: correlation of ranks, overlap of the best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Scores = npt.NDArray[np.floating]

TOP = 10
"""The k of ``overlap_10``."""


class Agreement(NamedTuple):
    """How far another attribution of a prompt agrees with the study's own; NaN where undefined.

    Attributes:
        spearman: of all neurons; NaN unless the other attribution has a score for each.
        n_candidates: neurons among the best of either.
        spearman_candidates: of those. Neurons that stand high in one alone are among them by
            choice, so it lies below what all neurons give: at -0.75 where two attributions have
            nothing in common (two blocks that swap places, in any order inside).
        overlap_10: share of the 10 best neurons that are the same.
        overlap_coarse: share of the k best that are the same, k being the prompt's number of
            coarse neurons.
    """

    spearman: float
    n_candidates: int
    spearman_candidates: float
    overlap_10: float
    overlap_coarse: float


def agreement(
    own: Scores, other: Scores, candidates: npt.NDArray[np.bool_], n_coarse: int
) -> Agreement:
    """The agreement of two attributions of one prompt, all ``[N]``.

    Args:
        own: scores of the study's attribution.
        other: of another, NaN where it has none.
        candidates: which neurons are among the best of either.
        n_coarse: how many are coarse by the study's attribution.
    """
    best_own, best_other = _descending(own), _descending(other)
    return Agreement(
        np.nan if np.isnan(other).any() else spearman(own, other),
        int(candidates.sum()),
        spearman(own[candidates], other[candidates]),
        overlap(best_own, best_other, TOP),
        overlap(best_own, best_other, n_coarse),
    )


def spearman(a: Scores, b: Scores) -> float:
    """Spearman's correlation: Pearson's of the ranks, ties sharing their mean rank.

    NaN where one side does not vary.
    """
    if len(a) < 2:
        return np.nan
    # Centred in float64: the ranks of some ten thousand neurons.
    first, second = (ranks - ranks.mean() for ranks in (stats.rankdata(a), stats.rankdata(b)))
    scale = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / scale) if scale > 0 else np.nan


def overlap(a: npt.NDArray[np.intp], b: npt.NDArray[np.intp], k: int) -> float:
    """``|top_k(a) ∩ top_k(b)| / k`` of two orders, best first; NaN for no neuron at all."""
    k = min(k, len(a))
    return len(np.intersect1d(a[:k], b[:k])) / k if k else np.nan


def _descending(scores: Scores) -> npt.NDArray[np.intp]:
    """Indices by score, best first; of equal ones the lower layer and index, NaN last."""
    return np.argsort(-scores, kind="stable")
