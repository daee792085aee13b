"""Tables of neurons → sets, one row each, compared by Jaccard's index |A ∩ B| / |A ∪ B|.

Two empty sets have no such index; of an empty one and another it is 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array

Places = npt.NDArray[np.intp]
Values = npt.NDArray[np.float64]
Sets = csr_array
"""1 where the row has the column."""

# Pairs of rows that are compared at once: bounds the memory.
_CHUNK = 1 << 15


def row_sets(rows: Places, neurons: pd.DataFrame, n_rows: int) -> Sets:
    """1 where the row has the neuron (one column each)."""
    layers, numbers = (neurons[name].to_numpy("int64") for name in ("layer", "neuron"))
    columns, distinct = pd.factorize(layers << 32 | numbers)
    return incidence(rows, columns, (n_rows, len(distinct)))


def incidence(rows: Places, columns: Places, shape: tuple[int, int]) -> Sets:
    """1 where a row has a column; what has no row (-1) is left out."""
    known = rows >= 0
    ones = np.ones(known.sum(), dtype=np.int32)
    sets = csr_array((ones, (rows[known], columns[known])), shape=shape)
    sets.data[:] = 1  # scipy adds up what is said twice
    return sets


def jaccard(sets: Sets, first: Places, second: Places) -> Values:
    """Of pairs of rows, ``[n]``; NaN where both are empty."""
    sizes = np.diff(sets.indptr)
    parts = [slice(start, start + _CHUNK) for start in range(0, len(first), _CHUNK)]
    shared = [sets[first[part]].multiply(sets[second[part]]).sum(axis=1) for part in parts]
    return ratio(np.concatenate([np.empty(0), *shared]), sizes[first] + sizes[second])


def jaccard_matrix(sets: Sets, first: Places, second: Places) -> Values:
    """Of each row of ``first`` with each of ``second``, ``[n, m]``; NaN where both are empty."""
    sizes = np.diff(sets.indptr)
    shared = (sets[first] @ sets[second].T).toarray()
    return ratio(shared, sizes[first][:, None] + sizes[second])


def ratio(shared: Values, both: Values) -> Values:
    """|A ∩ B| / |A ∪ B|, given |A| + |B|."""
    result = np.full(shared.shape, np.nan)
    np.divide(shared, both - shared, out=result, where=both > 0)
    return result
