"""Similarities planted as matrices → means, permuted means and p values, by hand and in full."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from kn_lightning.neuron_sets import Places, Values
from kn_lightning.report.pairing import DRAWS, Pairing, Pairs, pairing
from kn_lightning.report.statistics import mean_interval


def pairs_of(strata: list[int], clusters: list[int] | None = None) -> Pairs:
    """Row i with row i."""
    rows = np.arange(len(strata))
    return Pairs(rows, rows, np.array(strata), rows if clusters is None else np.array(clusters))


def paired(values: Values, pairs: Pairs) -> Pairing:
    """Similarities that are looked up."""

    def similarity(first: Places, second: Places) -> Values:
        return values[np.ix_(first, second)]

    return pairing(similarity, pairs)


@pytest.mark.parametrize("seed", range(3))
def test_p_and_permuted_mean_are_those_of_all_permutations(seed: int) -> None:
    values = np.random.default_rng(seed).random((6, 6))
    found = paired(values, pairs_of([0] * 6))
    means = [values[np.arange(6), list(order)].mean() for order in permutations(range(6))]
    own = values.diagonal().mean()
    share = np.mean([mean >= own - 1e-9 for mean in means])
    # Five standard errors of 9,999 draws.
    assert found.p == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / DRAWS) + 1e-4)
    assert found.mean == pytest.approx(own)
    assert found.mean_permuted == pytest.approx(np.mean(means), abs=0.005)
    np.testing.assert_allclose(found.own, values.diagonal())
    np.testing.assert_allclose(found.permuted, values.mean(axis=1))
    assert found.times == pytest.approx(own / found.mean_permuted)


def test_pairs_that_are_alike_are_found_and_permuted_ones_are_not() -> None:
    values = np.random.default_rng(0).random((40, 40)) * 0.1
    alike = values + np.eye(40)
    found = paired(alike, pairs_of([0] * 40))
    assert found.p == 1 / (DRAWS + 1)
    assert found.times is not None
    assert found.times > 10
    # The same table with partners that are not the planted ones.
    shuffled = np.random.default_rng(1).permutation(40)
    other = paired(alike[:, shuffled], pairs_of([0] * 40))
    assert other.p is not None
    assert other.p > 0.05


def test_p_values_of_random_tables_are_uniform() -> None:
    rng = np.random.default_rng(2)
    p = [paired(rng.random((12, 12)), pairs_of([0] * 12)).p for _ in range(30)]
    # Of 30 uniform values, 8 or more below 0.1 have a chance of 0.8 %.
    assert sum(value is not None and value < 0.1 for value in p) < 8
    assert max(value or 0 for value in p) > 0.5


def test_what_a_stratum_shares_is_no_evidence_within_it() -> None:
    strata = np.repeat([0, 1], 15)
    values = (strata[:, None] == strata) * 0.5 + np.random.default_rng(0).random((30, 30)) * 0.01
    across = paired(values, pairs_of([0] * 30))
    assert across.p is not None
    assert across.p < 0.001
    within = paired(values, pairs_of(strata.tolist()))
    assert within.p is not None
    assert within.p > 0.05
    assert within.times == pytest.approx(1, abs=0.02)


def test_pairs_alone_in_their_stratum_and_undefined_ones_do_not_count() -> None:
    values = np.full((5, 5), 0.2)
    values[2] = np.nan  # an empty set beside empty ones
    values[3, 3] = 1.0
    found = paired(values, pairs_of([0, 0, 0, 1, 0]))
    assert found.n == 3
    assert found.mean == pytest.approx(0.2)
    assert found.mean_permuted == pytest.approx(0.2)
    assert found.p == 1.0  # every draw is as large
    assert found.interval is None  # nothing varies
    assert found.own[3] == 1.0
    assert np.isnan(found.permuted[3])
    assert np.isnan(found.own[2])
    nothing = paired(values, pairs_of([0, 1, 2, 3, 4]))
    assert (nothing.n, nothing.mean, nothing.p, nothing.times) == (0, None, None, None)


def test_pairs_that_are_undefined_are_in_no_draw_either() -> None:
    alike = np.ones((20, 20))
    alike[10:, :10] = alike[:10, 10:] = 0.0  # an empty set beside one that isn't
    alike[10:, 10:] = np.nan
    found, alone = paired(alike, pairs_of([0] * 20)), paired(alike[:10, :10], pairs_of([0] * 10))
    for one in (found, alone):
        assert (one.n, one.mean, one.mean_permuted, one.p) == (10, 1.0, 1.0, 1.0)
    np.testing.assert_allclose(found.permuted[:10], 1.0)
    assert np.isnan(found.permuted[10:]).all()


def test_undefined_partners_are_left_out_of_a_draw() -> None:
    values = np.array([[0.5, np.nan], [np.nan, 0.3]])
    found = paired(values, pairs_of([0, 0]))
    # Draws are the pairs themselves, or have no pair: those speak against the pairs.
    assert found.p == 1.0
    assert found.mean_permuted == pytest.approx(0.4)
    np.testing.assert_allclose(found.permuted, [0.5, 0.3])


def test_bootstrap_draws_clusters_whole() -> None:
    values = np.random.default_rng(0).random((20, 20))
    own = values.diagonal()
    alone = paired(values, pairs_of([0] * 20))
    assert alone.interval == pytest.approx(mean_interval(own))
    # Each pair ten times over: as many clusters, hence no narrower.
    many = np.tile(values, (10, 10))
    tenfold = paired(many, pairs_of([0] * 200, [*range(20)] * 10))
    assert tenfold.interval == pytest.approx(alone.interval, rel=1e-6)
    narrow = paired(many, pairs_of([0] * 200)).interval
    assert narrow is not None
    assert tenfold.interval is not None
    assert np.diff(narrow) < 0.5 * np.diff(tenfold.interval)


def test_what_is_computed_at_once_changes_nothing_but_the_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(0).random((23, 23))
    before = paired(values, pairs_of([0] * 23))
    monkeypatch.setattr("kn_lightning.report.pairing._DRAWN", 100)
    assert paired(values, pairs_of([0] * 23)).p == before.p
    monkeypatch.setattr("kn_lightning.report.pairing._LARGEST", 10)
    cut = paired(values, pairs_of([0] * 23))
    assert (cut.n, cut.mean, cut.interval) == (before.n, before.mean, before.interval)
    assert cut.p is not None
    assert cut.p > 0.001
