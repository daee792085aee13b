"""Pairs of synonyms → do they share more knowledge neurons than other words do?

Niu et al. (2024) ask it of the thesis that knowledge sits in neurons: if they held a meaning, two
words for it should have them in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from kn_lightning.neuron_sets import (
    Places,
    Sets,
    Values,
    incidence,
    jaccard_matrix,
    row_sets,
)
from kn_lightning.report.pairing import Pairing, Pairs, Similarity, pairing
from kn_lightning.report.rankings import concept_pos
from kn_lightning.report.sets import coarse_sets
from kn_lightning.report.tables import RunTables

# Prompts that are compared with all others at once: bounds the memory.
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Synonyms:
    """How alike synonyms are.

    Attributes:
        knowledge: By the Jaccard index of their knowledge neurons.
        coarse: By that of two prompts' coarse neurons, one prompt of each, on average over all.
        pairs: One row a pair, most knowledge neurons in common first: a, b, pos_a, pos_b; jaccard,
            shared and n_a, n_b of knowledge neurons, permuted (mean of jaccard over the permuted
            partners); coarse and coarse_permuted, the same of coarse neurons; same_prompts, how
            many prompts they have in common, word for word.
    """

    knowledge: Pairing
    coarse: Pairing
    pairs: pd.DataFrame


def synonyms(tables: RunTables, given: Sequence[tuple[str, str]]) -> Synonyms:
    """Compare pairs of concepts of the run; partners are permuted within their part of speech.

    Those without one are a stratum of their own.
    """
    words = pd.Index(sorted({word for pair in given for word in pair}))
    first, second = (words.get_indexer(pd.Index([pair[side] for pair in given])) for side in (0, 1))
    pos = concept_pos(tables.prompts).reindex(words)
    links = incidence(first, second, (len(words), len(words)))
    _, component = connected_components(links, directed=False)
    # Pairs that share a word are not independent, nor are those that these share one with.
    pairs = Pairs(first, second, pd.factorize(pos)[0][second], component[first].astype(np.intp))
    owner, concept = (
        words.get_indexer(pd.Index(rows["concept"])) for rows in (tables.neurons, tables.prompts)
    )
    refined = row_sets(owner, tables.neurons, len(words))
    alike = _mean_by_concept(coarse_sets(tables), concept, len(words))
    knowledge = pairing(_of_others(lambda a, b: jaccard_matrix(refined, a, b)), pairs)
    coarse = pairing(_of_others(lambda a, b: alike[np.ix_(a, b)]), pairs)
    sizes = np.diff(refined.indptr)
    texts = tables.prompts.groupby("concept")["prompt"].agg(set)
    rows = pd.DataFrame(
        {
            "a": [a for a, _ in given],
            "b": [b for _, b in given],
            "pos_a": pos.to_numpy()[first],
            "pos_b": pos.to_numpy()[second],
            "jaccard": knowledge.own,
            "shared": refined[first].multiply(refined[second]).sum(axis=1),
            "n_a": sizes[first],
            "n_b": sizes[second],
            "permuted": knowledge.permuted,
            "coarse": coarse.own,
            "coarse_permuted": coarse.permuted,
            "same_prompts": [len(texts[a] & texts[b]) for a, b in given],
        }
    )
    order = ["jaccard", "coarse", "a", "b"]
    rows = rows.sort_values(order, ascending=[False, False, True, True])
    return Synonyms(knowledge, coarse, rows.reset_index(drop=True))


def _of_others(similarity: Similarity) -> Similarity:
    """The same, but a word is no partner of its own."""

    def of_others(first: Places, second: Places) -> Values:
        values = similarity(first, second)
        values[first[:, None] == second] = np.nan
        return values

    return of_others


def _mean_by_concept(sets: Sets, concept: Places, n: int) -> Values:
    """The mean Jaccard index over the pairs of prompts of each two concepts, ``[n, n]``.

    Args:
        sets: One row a prompt.
        concept: Of each prompt, -1 of one that is in no pair.
        n: Concepts.
    """
    prompts = np.flatnonzero(concept >= 0)
    owner = incidence(concept[prompts], np.arange(len(prompts)), (n, len(prompts)))
    sums, counts = np.zeros((n, n)), np.zeros((n, n))
    for start in range(0, len(prompts), _BLOCK):
        rows = slice(start, start + _BLOCK)
        values = jaccard_matrix(sets, prompts[rows], prompts)
        defined = np.isfinite(values)
        own = owner[:, rows]
        sums += own @ (owner @ np.where(defined, values, 0).T).T
        counts += own @ (owner @ defined.astype(float).T).T
    means = np.full((n, n), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means
