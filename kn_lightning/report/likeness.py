"""Knowledge neurons → which concepts share them: each one's nearest, and a map of some."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.sparse import csr_array
from scipy.spatial.distance import squareform

N_NEAREST = 12
"""Concepts named beside each concept."""
N_MAP = 30
"""Concepts on the map: as many rows as a reader can take in, and a phone can scroll."""
_BLOCK = 64


def likeness(neurons: pd.DataFrame, place: pd.Series) -> dict[str, Any]:
    """Jaccard indices of concepts' knowledge neurons, |A ∩ B| / |A ∪ B|.

    Args:
        neurons: ``neurons.parquet``.
        place: of each concept, its number, 0 upwards.

    Returns:
        ``nearest``: for each concept its most similar ones as [number, neurons in common, index],
        none that share nothing; ``map``: ``concepts``, numbers of those with the largest sum of
        indices over all others, in the order of an average-linkage clustering that puts similar
        ones side by side, and ``jaccard``, the indices of each pair of them.
    """
    sets = _sets(neurons, place)
    sizes = np.diff(sets.indptr)
    nearest: list[list[list[float]]] = []
    sums = np.zeros(len(place))
    for start in range(0, len(place), _BLOCK):
        block = csr_array(sets[start : start + _BLOCK] @ sets.T)
        for row in range(block.shape[0]):
            here = slice(block.indptr[row], block.indptr[row + 1])
            others, shared = block.indices[here], block.data[here]
            apart = others != start + row
            others, shared = others[apart], shared[apart]
            index = shared / (sizes[start + row] + sizes[others] - shared)
            sums[start + row] = index.sum()
            order = np.lexsort((others, -shared, -index))[:N_NEAREST]
            columns = others[order], shared[order], index[order].round(3)
            nearest.append(
                [list(each) for each in zip(*map(np.ndarray.tolist, columns), strict=True)]
            )
    return {"nearest": nearest, "map": _map(sets, sums)}


def _sets(neurons: pd.DataFrame, place: pd.Series) -> csr_array:
    """1 where a concept (row) has a neuron (column)."""
    rows = neurons["concept"].map(place).to_numpy(dtype=np.intp)
    columns = neurons.groupby(["layer", "neuron"]).ngroup().to_numpy(dtype=np.intp)
    shape = len(place), int(columns.max(initial=-1)) + 1
    return csr_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape)


def _map(sets: csr_array, sums: np.ndarray) -> dict[str, Any]:
    chosen = np.argsort(-sums, kind="stable")[:N_MAP]
    chosen = np.sort(chosen[sums[chosen] > 0])
    if len(chosen) < 2:
        return {"concepts": [], "jaccard": []}
    part = sets[chosen]
    sizes = np.diff(part.indptr)
    shared = (part @ part.T).toarray()
    index = shared / (sizes[:, None] + sizes - shared)
    order = leaves_list(
        linkage(squareform(1 - index, checks=False), method="average", optimal_ordering=True)
    )
    return {
        "concepts": chosen[order].tolist(),
        "jaccard": index[np.ix_(order, order)].round(3).tolist(),
    }
