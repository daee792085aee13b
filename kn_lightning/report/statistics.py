"""Values of concepts → tests, effect sizes and confidence intervals; knows no edit and no label."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

ALPHA = 0.05
"""False discovery rate at which a difference is called significant."""
MIN_N = 5
"""Values that each side of a test needs, and a bootstrap interval.

Of fewer an interval of 95 % by name holds the truth far less often: of 2 every second time.
"""
LEVEL = 0.95
RESAMPLES = 2000
SEED = 0

Values = npt.NDArray[np.float64]
Interval = list[float] | None
"""Lowest and highest value; None where the values leave it undefined, or are too few."""

# Values that scipy resamples or leaves out at once: bounds the memory of its n x n jackknife.
_BATCH_VALUES = 1 << 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """The two-sided test of one difference.

    Attributes:
        test: ``wilcoxon``, ``mann_whitney`` or ``kolmogorov_smirnov``.
        n_a: Values of the first side.
        n_b: Values of the second side.
        statistic: The test's own.
        p: Its p-value, adjusted for nothing.
        effect: What ``effect_size`` is: ``rank_biserial`` or ``ks_distance``.
        effect_size: ``rank_biserial`` from -1 (the first side is always smaller) to 1 (always
            larger), ``ks_distance`` from 0 to 1.
    """

    test: str
    n_a: int
    n_b: int
    statistic: float
    p: float
    effect: str
    effect_size: float


def signed_rank(differences: Values) -> Comparison:
    """Wilcoxon's signed-rank test of paired differences.

    Differences of 0 are ranked with all others and then carry no sign (Pratt 1959): dropping them
    before would let one tiny change among a thousand zeros stand for all, and scipy's ``zsplit``
    keeps the variance of a sample without zeros. Up to 13 pairs with ties or zeros, and up to 50
    without, p is exact.

    The effect is the matched-pairs rank-biserial correlation (Kerby 2014): the sum of the positive
    differences' ranks minus that of the negative ones, over that of all.
    """
    n = len(differences)
    ranks = stats.rankdata(np.abs(differences))
    statistic, p = 0.0, 1.0
    if differences.any():  # all zero: scipy divides by a standard error of 0
        result = stats.wilcoxon(differences, zero_method="pratt")
        statistic, p = float(result.statistic), float(result.pvalue)
    effect = float(np.sign(differences) @ ranks / ranks.sum())
    return Comparison("wilcoxon", n, n, statistic, p, "rank_biserial", effect)


def rank_sum(a: Values, b: Values) -> Comparison:
    """Mann and Whitney's U test of two independent samples.

    The effect is the rank-biserial correlation 2 U / (n_a n_b) - 1 = P(a > b) - P(a < b).
    """
    result = stats.mannwhitneyu(a, b, alternative="two-sided")
    statistic = float(result.statistic)
    effect = 2 * statistic / (len(a) * len(b)) - 1
    p = float(result.pvalue)
    return Comparison("mann_whitney", len(a), len(b), statistic, p, "rank_biserial", effect)


def kolmogorov_smirnov(a: Values, b: Values) -> Comparison:
    """The two-sample test; its statistic, the largest distance of both ECDFs, is the effect."""
    with warnings.catch_warnings():
        # A p that rounds to more than 1 is computed again from the limiting distribution.
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation", RuntimeWarning)
        result = stats.ks_2samp(a, b)
    distance, p = float(result.statistic), float(result.pvalue)
    return Comparison("kolmogorov_smirnov", len(a), len(b), distance, p, "ks_distance", distance)


def adjusted(p_values: list[float]) -> list[float]:
    """Benjamini and Hochberg's p-values of one family of tests."""
    return [float(p) for p in stats.false_discovery_control(p_values)] if p_values else []


def mean_interval(values: Values) -> Interval:
    """The bootstrap interval of the mean, bias-corrected and accelerated (Efron 1987).

    BCa, because changes under amplification are strongly skewed and the percentiles of their means
    lie too low.
    """
    return _interval((values,), np.mean, "BCa")


def median_interval(values: Values) -> Interval:
    """The bootstrap interval of the median, from percentiles.

    Not BCa: its acceleration comes from the jackknife, which is inconsistent for quantiles.
    """
    return _interval((values,), np.median, "percentile")


def median_difference_interval(a: Values, b: Values) -> Interval:
    """The bootstrap interval of median(a) - median(b) of two independent samples."""

    def difference(a: Values, b: Values, axis: int = -1) -> Values:
        return np.asarray(np.median(a, axis=axis) - np.median(b, axis=axis))

    return _interval((a, b), difference, "percentile")


def ratio_interval(sums: Values, counts: Values) -> Interval:
    """The bootstrap interval of a mean of values that come in clusters, which are resampled whole.

    Args:
        sums: of each cluster's values.
        counts: how many they are.
    """

    def ratio(sums: Values, counts: Values, axis: int = -1) -> Values:
        return np.asarray(sums.sum(axis=axis) / counts.sum(axis=axis))

    return _interval((sums, counts), ratio, "BCa", paired=True)


def _interval(
    samples: tuple[Values, ...],
    statistic: Callable[..., Any],
    method: Literal["BCa", "percentile"],
    paired: bool = False,
) -> Interval:
    """None where a sample has fewer than ``MIN_N`` values, or all are constant: nothing varies."""
    few = min(map(len, samples)) < MIN_N
    if few or all(np.allclose(x, x[0], rtol=1e-12, atol=0) for x in samples):
        return None
    result = stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH_VALUES // sum(map(len, samples))),
        confidence_level=LEVEL,
        method=method,
        paired=paired,
        # A generator of its own: no interval depends on which others are asked for.
        rng=np.random.default_rng(SEED),
    )
    low, high = result.confidence_interval
    return [float(low), float(high)]
