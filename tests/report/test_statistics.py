"""Tests and intervals against statsmodels, full enumeration and bootstraps written by hand."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.nonparametric import rank_compare_2indep

from kn_lightning.report import statistics
from kn_lightning.report.statistics import Values

DIFFERENCES = {
    "distinct": [3.1, -0.4, 2.2, 5.0, -1.3, 0.7, 1.9, 4.4, 0.2, -2.5],
    "ties": [1.0, 1.0, -1.0, 2.0, 2.0, -3.0, 3.0, 1.0, 4.0, 2.0],
    "zeros": [0.0, 0.0, 0.0, 2.0, -1.0, 3.0, 4.0, 5.0, 1.0, 0.0],
}


def draw(n: int, seed: int = 0) -> Values:
    """Skewed values, as changes under amplification are."""
    return np.random.default_rng(seed).lognormal(sigma=1.0, size=n) - 1


def test_adjusted_p_values_are_those_of_statsmodels() -> None:
    p_values = [0.001, 0.03, 0.03, 0.2, 0.04, 0.9, 1.0, 0.012]
    expected = multipletests(p_values, method="fdr_bh")[1]
    assert statistics.adjusted(p_values) == pytest.approx(expected)
    assert statistics.adjusted([]) == []


@pytest.mark.parametrize("values", DIFFERENCES.values(), ids=DIFFERENCES)
def test_signed_rank_is_the_share_of_all_signs_that_are_as_extreme(values: list[float]) -> None:
    sizes = np.abs(values)
    ranks = np.array([(sizes < size).sum() + ((sizes == size).sum() + 1) / 2 for size in sizes])
    signs = np.array(list(product([-1, 1], repeat=len(values))))
    sums = np.abs(signs @ np.where(sizes > 0, ranks, 0))
    observed = abs(np.sign(values) @ ranks)
    tested = statistics.signed_rank(np.array(values))
    assert tested.p == pytest.approx(np.mean(sums >= observed - 1e-9))
    assert (tested.test, tested.n_a, tested.n_b) == ("wilcoxon", 10, 10)


@pytest.mark.parametrize("values", DIFFERENCES.values(), ids=DIFFERENCES)
def test_paired_effect_is_the_mean_sign_of_walsh_averages(values: list[float]) -> None:
    averages = [values[i] + values[j] for j in range(len(values)) for i in range(j + 1)]
    tested = statistics.signed_rank(np.array(values))
    assert tested.effect == "rank_biserial"
    assert tested.effect_size == pytest.approx(np.mean(np.sign(averages)))


def test_signed_rank_of_many_is_normal_with_the_variance_of_its_ranks() -> None:
    values = np.round(draw(300) / 2)  # with ties and zeros
    sizes = np.abs(values)
    ranks = (sizes[:, None] > sizes).sum(1) + ((sizes[:, None] == sizes).sum(1) + 1) / 2
    assert np.mean(values == 0) > 0.3
    z = np.sign(values) @ ranks / np.sqrt((ranks[values != 0] ** 2).sum())
    assert statistics.signed_rank(values).p == pytest.approx(2 * ndtr(-abs(z)))


def test_differences_of_zero_alone_are_no_effect() -> None:
    tested = statistics.signed_rank(np.zeros(20))
    assert (tested.p, tested.effect_size) == (1.0, 0.0)


def test_rank_sum_is_the_share_of_all_partitions_that_are_as_extreme() -> None:
    a, b = draw(5), draw(6, seed=1) + 0.8
    both = np.concatenate([a, b])

    def above(first: Values, second: Values) -> int:
        return int((first[:, None] > second).sum())

    counts = []
    for chosen in combinations(range(11), 5):
        mask = np.isin(np.arange(11), chosen)
        counts.append(abs(above(both[mask], both[~mask]) - 15))
    tested = statistics.rank_sum(a, b)
    assert tested.statistic == above(a, b)
    assert tested.p == pytest.approx(np.mean(np.array(counts) >= abs(above(a, b) - 15)))


def test_rank_sum_effect_is_that_of_statsmodels() -> None:
    a, b = np.round(draw(60), 1), np.round(draw(40, seed=1) + 0.5, 1)  # with ties
    tested = statistics.rank_sum(a, b)
    probability = rank_compare_2indep(a, b).prob1  # P(a > b) + P(a = b) / 2
    assert tested.effect_size == pytest.approx(2 * probability - 1)
    assert tested.effect_size < 0
    assert statistics.rank_sum(b, a).effect_size == pytest.approx(-tested.effect_size)


def test_rank_sum_of_many_is_normal_with_the_variance_of_tied_ranks() -> None:
    a, b = np.round(draw(60), 1), np.round(draw(40, seed=1) + 0.5, 1)
    both = np.concatenate([a, b])
    ranks = (both[:, None] > both).sum(1) + ((both[:, None] == both).sum(1) + 1) / 2
    deviation = np.sqrt(60 * 40 / (100 * 99) * ((ranks - ranks.mean()) ** 2).sum())
    z = (abs(ranks[:60].sum() - 60 * 50.5) - 0.5) / deviation  # 0.5: for continuity
    assert statistics.rank_sum(a, b).p == pytest.approx(2 * ndtr(-z))


def test_kolmogorov_smirnov_is_the_share_of_all_partitions_that_are_as_far_apart() -> None:
    both = np.concatenate([draw(5), draw(5, seed=1) + 1])

    def distance(first: Values, second: Values) -> float:
        return max(abs((first <= x).mean() - (second <= x).mean()) for x in both)

    found = []
    for chosen in combinations(range(10), 5):
        mask = np.isin(np.arange(10), chosen)
        found.append(distance(both[mask], both[~mask]))
    observed = distance(both[:5], both[5:])
    tested = statistics.kolmogorov_smirnov(both[:5], both[5:])
    assert (tested.effect, tested.effect_size) == ("ks_distance", pytest.approx(observed))
    assert tested.p == pytest.approx(np.mean(np.array(found) >= observed - 1e-9))


def test_small_and_equal_samples_give_probabilities_without_a_warning() -> None:
    for seed in range(40):
        a, b = draw(5, seed), draw(5 + seed % 3, 100 + seed)
        for x, y in ((a, b), (a, a), (np.zeros(5), np.zeros(5))):
            for test in (statistics.kolmogorov_smirnov, statistics.rank_sum):
                assert 0 <= test(x, y).p <= 1


def test_mean_interval_is_a_bca_bootstrap() -> None:
    values = draw(60)
    rng = np.random.default_rng(123)
    means = np.sort([rng.choice(values, 60).mean() for _ in range(20_000)])
    bias = ndtri(np.mean(means < values.mean()))
    others = np.array([np.delete(values, i).mean() for i in range(60)])
    influence = others.mean() - others
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    shifted = bias + ndtri([0.025, 0.975])
    places = ndtr(bias + shifted / (1 - acceleration * shifted))
    expected = np.quantile(means, places)
    found = statistics.mean_interval(values)
    assert found == pytest.approx(expected, abs=0.06 * np.ptp(expected))
    # The skew is seen: the plain percentiles lie lower by more than the draws explain.
    assert found[1] - np.quantile(means, 0.975) > 0.06 * np.ptp(expected)


def test_median_interval_is_a_percentile_bootstrap() -> None:
    values = draw(60)
    rng = np.random.default_rng(123)
    medians = [np.median(rng.choice(values, 60)) for _ in range(20_000)]
    expected = np.quantile(medians, [0.025, 0.975])
    assert statistics.median_interval(values) == pytest.approx(
        expected, abs=0.06 * np.ptp(expected)
    )


def test_median_difference_interval_is_a_percentile_bootstrap_of_both_samples() -> None:
    a, b = draw(60), draw(45, seed=1) + 1
    rng = np.random.default_rng(123)
    draws = [np.median(rng.choice(a, 60)) - np.median(rng.choice(b, 45)) for _ in range(20_000)]
    expected = np.quantile(draws, [0.025, 0.975])
    found = statistics.median_difference_interval(a, b)
    assert found == pytest.approx(expected, abs=0.06 * np.ptp(expected))


def test_intervals_contain_the_truth_about_as_often_as_they_say() -> None:
    intervals = [statistics.median_interval(draw(40, seed)) for seed in range(200)]
    hits = sum(low <= 0 <= high for low, high in intervals)  # the median of exp(normal) - 1
    assert 180 <= hits <= 198


def test_an_interval_does_not_depend_on_those_before_it() -> None:
    first = statistics.mean_interval(draw(30))
    statistics.mean_interval(draw(31))
    assert statistics.mean_interval(draw(30)) == first


@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.5, 0.5], [0.3, 0.1 + 0.2]])
def test_without_spread_there_is_no_interval(values: list[float]) -> None:
    array = np.array(values)
    assert statistics.mean_interval(array) is None
    assert statistics.median_interval(array) is None
    assert statistics.median_difference_interval(array, array) is None


def test_few_values_have_no_interval() -> None:
    values = np.linspace(0.0, 1.0, statistics.MIN_N)
    for interval in (statistics.mean_interval, statistics.median_interval):
        assert interval(values) is not None
        assert interval(values[1:]) is None
    assert statistics.median_difference_interval(values, values[1:]) is None
