"""Pairs of sets of neurons → are partners more alike than partners drawn anew?

The statistic is the mean similarity of the pairs. Beside it stand those with partners permuted
within strata: every set stays in as many pairs as before, so that what sets share by their sizes,
by neurons that serve everything, or by what makes a stratum is in them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from kn_lightning.neuron_sets import Places, Values
from kn_lightning.report.statistics import SEED, Interval, ratio_interval

DRAWS = 9_999
_LARGEST = 2048
# Places that are permuted at once: bounds the memory.
_DRAWN = 1 << 20

Similarity = Callable[[Places, Places], Values]
"""Rows of the one side ``[n]`` and of the other ``[m]`` -> ``[n, m]``; NaN where undefined."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """What is compared with what; all of ``[n]``.

    Attributes:
        first: Rows of the one side.
        second: Those of their partners.
        strata: Within which partners are permuted, as codes.
        clusters: What the bootstrap draws whole, as codes: their pairs are not independent.
    """

    first: Places
    second: Places
    strata: Places
    clusters: Places


@dataclass(frozen=True, slots=True)
class Pairing:
    """How alike partners are. Where no pair counts, what follows ``n`` is None.

    Attributes:
        own: ``[n]`` similarity of each pair; NaN where undefined.
        permuted: ``[n]`` mean over all partners of the stratum; NaN where there is no other.
        n: Pairs that count: defined, and not alone in their stratum.
        mean: Of their similarities.
        interval: Its bootstrap interval, by clusters.
        mean_permuted: The mean with partners permuted, over the draws.
        p: Share of draws, this one among them, whose mean is at least as large: (b + 1) / (n + 1),
            one-sided.
    """

    own: Values
    permuted: Values
    n: int
    mean: float | None = None
    interval: Interval = None
    mean_permuted: float | None = None
    p: float | None = None

    @property
    def times(self) -> float | None:
        """The mean over that with partners permuted; None where that is 0."""
        return (
            None if self.mean is None or not self.mean_permuted else self.mean / self.mean_permuted
        )


def pairing(similarity: Similarity, pairs: Pairs) -> Pairing:
    """Test the pairs against permuted partners, with a fixed seed.

    Partners are permuted among the pairs that are defined: of two empty sets, each would be in the
    draws with other partners, and in the mean never. A permuted pair whose similarity is undefined
    (of a set with itself) is left out of its draw's mean.
    """
    rng = np.random.default_rng(SEED)
    own, permuted = (np.full(len(pairs.first), np.nan) for _ in range(2))
    sums, counts = np.zeros(DRAWS), np.zeros(DRAWS)
    for rows in _parts(pairs.strata, rng):
        values = similarity(pairs.first[rows], pairs.second[rows])
        own[rows] = values.diagonal()
        known = np.flatnonzero(np.isfinite(own[rows]))
        if len(known) > 1:
            values = values[np.ix_(known, known)]
            permuted[rows[known]] = _row_means(values)
            _add_draws(values, sums, counts, rng)
    counted = np.isfinite(own) & np.isfinite(permuted)
    if not counted.any():
        return Pairing(own, permuted, 0)
    drawn = sums[counts > 0] / counts[counts > 0]
    mean = float(own[counted].mean())
    # Sums in another order differ by rounding; what is equal, or unknown, counts against the pairs.
    as_large = DRAWS - int((drawn < mean - 1e-9).sum())
    return Pairing(
        own,
        permuted,
        int(counted.sum()),
        mean,
        _interval(own[counted], pairs.clusters[counted]),
        float(drawn.mean()) if len(drawn) else None,
        (as_large + 1) / (DRAWS + 1),
    )


def _parts(strata: Places, rng: np.random.Generator) -> Iterator[Places]:
    """The pairs of each stratum; a large one is cut at random, which only limits what is drawn."""
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        yield from np.array_split(rows, -(-len(rows) // _LARGEST))


def _row_means(values: Values) -> Values:
    defined = np.isfinite(values)
    n = defined.sum(axis=1)
    means = np.full(len(values), np.nan)
    np.divide(np.where(defined, values, 0).sum(axis=1), n, out=means, where=n > 0)
    return means


def _add_draws(values: Values, sums: Values, counts: Values, rng: np.random.Generator) -> None:
    """Add the similarities ``[n, n]`` of permuted partners to each draw's sum and their number."""
    n = len(values)
    defined = np.isfinite(values)
    known = np.where(defined, values, 0)
    size = max(1, _DRAWN // n)
    for start in range(0, DRAWS, size):
        draws = slice(start, min(start + size, DRAWS))
        order = rng.permuted(np.tile(np.arange(n), (draws.stop - start, 1)), axis=1)
        sums[draws] += known[np.arange(n), order].sum(axis=1)
        counts[draws] += defined[np.arange(n), order].sum(axis=1)


def _interval(values: Values, clusters: Places) -> Interval:
    _, codes = np.unique(clusters, return_inverse=True)
    sums, counts = (
        np.bincount(codes, weights=weights) for weights in (values, np.ones(len(codes)))
    )
    return ratio_interval(sums.astype(np.float64), counts.astype(np.float64))
