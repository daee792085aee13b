"""Agreement of two attributions of one prompt, by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kn_lightning.core.agreement import Agreement, agreement, overlap, spearman

NAN = float("nan")


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [2, 3, 10, 1000])
def test_spearman_equals_scipys(n: int, ties: bool) -> None:
    draw = np.random.default_rng(n)
    a = draw.normal(size=n).astype(np.float32)
    b = (a + draw.normal(size=n)).astype(np.float32)
    if ties:
        a, b = a.round(), b.round(1)
        a[:2] = (0, 1)  # so that it varies
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_spearman_of_hand_data() -> None:
    # Differences of ranks 0, 1, 1, 0, 0: 1 - 6 * 2 / (5 * 24).
    assert spearman(np.array([1, 2, 3, 4, 5.0]), np.array([10, 30, 20, 40, 50.0])) == 0.9
    # Both middle ones have rank 2.5: cov 4.5 / sqrt(5 * 4.5).
    tied = spearman(np.array([1, 2, 3, 4.0]), np.array([1, 2, 2, 4.0]))
    assert tied == pytest.approx(4.5 / math.sqrt(5 * 4.5))


@pytest.mark.parametrize(("a", "b"), [([1.0, 1, 1], [1.0, 2, 3]), ([1.0], [2.0]), ([], [])])
def test_spearman_of_what_does_not_vary_is_undefined(a: list[float], b: list[float]) -> None:
    assert math.isnan(spearman(np.array(a), np.array(b)))


@pytest.mark.parametrize(("k", "expected"), [(1, 0.0), (2, 0.5), (3, 2 / 3), (4, 1.0), (9, 1.0)])
def test_overlap_of_hand_data(k: int, expected: float) -> None:
    assert overlap(np.array([3, 1, 0, 2]), np.array([1, 2, 3, 0]), k) == expected


def test_overlap_of_no_neurons_is_undefined() -> None:
    assert math.isnan(overlap(np.array([0, 1]), np.array([1, 0]), 0))


def test_agreement_puts_them_together() -> None:
    own = np.arange(20.0)[::-1]  # the best ones first
    other = own.copy()
    other[[0, 19]] = other[[19, 0]]  # the best one is the last one here
    candidates = np.zeros(20, dtype=bool)
    candidates[[0, 1, 2, 19]] = True
    found = agreement(own, other, candidates, 2)
    assert found.spearman == pytest.approx(stats.spearmanr(own, other).statistic)
    assert found.n_candidates == 4
    # Ranks 4, 3, 2, 1 against 1, 3, 2, 4.
    assert found.spearman_candidates == pytest.approx(1 - 6 * 18 / 60)
    assert found.overlap_10 == 0.9
    assert found.overlap_coarse == 0.5


def test_what_was_not_computed_counts_for_nothing() -> None:
    own = np.array([4.0, 3, 2, 1])
    other = np.array([1.0, NAN, 2, NAN])
    found = agreement(own, other, ~np.isnan(other), 1)
    assert math.isnan(found.spearman)
    assert found[1:] == Agreement(NAN, 2, -1.0, 1.0, 0.0)[1:]


def test_without_coarse_neurons_their_overlap_is_undefined() -> None:
    own = np.arange(4.0)
    assert math.isnan(agreement(own, own, own > 1, 0).overlap_coarse)


def test_equal_scores_go_by_place() -> None:
    own, other = np.zeros(30), np.zeros(30)
    other[5] = 1  # then 0 to 8
    assert agreement(own, other, own == 0, 1).overlap_10 == 1.0
    assert agreement(own, other, own == 0, 1).overlap_coarse == 0.0
