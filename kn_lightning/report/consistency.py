"""Neurons → what prompts of a concept share (coarse sets), and what concepts do (refined sets)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from kn_lightning.neuron_sets import Sets, incidence, jaccard, ratio, row_sets
from kn_lightning.report.effects import quantile
from kn_lightning.report.rankings import concept_pos
from kn_lightning.report.sets import coarse_sets
from kn_lightning.report.statistics import SEED, mean_interval
from kn_lightning.report.tables import RunTables

N_PAIRS = 15
"""The most similar pairs of concepts that the summary names."""
N_DRAWN = 20_000
"""Pairs of prompts of different concepts that are drawn to say what chance gives."""

# Rows of concepts that are compared at once: bounds the memory.
_BLOCK = 64

_SAME, _DIFFERENT, _UNKNOWN = 1, 0, -1


def consistency(tables: RunTables) -> dict[str, Any]:
    """How far the coarse sets of a concept's prompts agree, beside prompts of different concepts.

    ``n`` concepts have at least two prompts and a pair that is not empty on both sides (else they
    are ``n_undefined``); ``n_single`` have one prompt. Each concept weighs the same.
    """
    sets = coarse_sets(tables)
    pairs = _within(tables.prompts, sets)
    values = _concept_means(pairs)
    n_prompts = tables.prompts["concept"].value_counts()
    return {
        "n": len(values),
        "n_undefined": int((n_prompts > 1).sum()) - len(values),
        "n_single": int((n_prompts == 1).sum()),
        "n_pairs": len(pairs),
        "n_empty_pairs": int(pairs["jaccard"].isna().sum()),
        "mean": values.mean(),
        "median": values.median(),
        "p25": quantile(values, 0.25),
        "p75": quantile(values, 0.75),
        "mean_ci": mean_interval(values.to_numpy()),
        "random_expectation": _between(tables.prompts, sets),
    }


def by_concept(tables: RunTables) -> pd.Series:
    """The mean Jaccard index over the pairs of a concept's prompts, where defined."""
    return _concept_means(_within(tables.prompts, coarse_sets(tables)))


def similarity(tables: RunTables) -> dict[str, Any] | None:
    """n-sample similarity of the scores of a concept's prompts, beside prompts of different ones.

    ``n`` concepts have it, of these ``n_between`` also the other. Each concept weighs the same.
    None where no concept has it: all have one prompt, or the run is older than the column.
    """
    found = tables.prompts.groupby("concept")[["similarity", "similarity_between"]].first()
    found = found.dropna(subset="similarity")
    if found.empty:
        return None
    own, between = found["similarity"], found["similarity_between"].dropna()
    return {
        "n": len(own),
        "mean": own.mean(),
        "mean_ci": mean_interval(own.to_numpy()),
        "median": own.median(),
        "n_between": len(between),
        "between_mean": between.mean(),
        "between_mean_ci": mean_interval(between.to_numpy()) if len(between) else None,
    }


def _concept_means(pairs: pd.DataFrame) -> pd.Series:
    return pairs.groupby("concept")["jaccard"].mean().dropna()


def _within(prompts: pd.DataFrame, sets: Sets) -> pd.DataFrame:
    """Columns concept and jaccard, one row a pair of prompts of the same concept."""
    groups = list(prompts.groupby("concept").indices.values())
    pairs = [rows[np.array(np.triu_indices(len(rows), 1))] for rows in groups]
    first, second = np.concatenate([np.empty((2, 0), dtype=np.intp), *pairs], axis=1)
    concepts = prompts["concept"].to_numpy()[first]
    return pd.DataFrame({"concept": concepts, "jaccard": jaccard(sets, first, second)})


def _between(prompts: pd.DataFrame, sets: Sets) -> float | None:
    """The mean Jaccard index of prompts of different concepts, None where there is none.

    What two sets share for no better reason than their sizes and neurons that serve everything.
    The pairs are drawn with a fixed seed; every concept is as likely as any other.
    """
    concepts, names = pd.factorize(prompts["concept"])
    if len(names) < 2:
        return None
    weights = 1 / np.bincount(concepts)[concepts]
    draw = np.random.default_rng(SEED)
    first, second = draw.choice(len(concepts), (2, N_DRAWN), p=weights / weights.sum())
    differ = concepts[first] != concepts[second]
    values = jaccard(sets, first[differ], second[differ])
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def overlap(tables: RunTables) -> dict[str, Any]:
    """How far the knowledge neurons of different concepts are the same.

    Concepts without any are left out. Two concepts share a relation if they have any in common.
    """
    codes, concepts = pd.factorize(tables.neurons["concept"], sort=True)
    names = concepts.tolist()
    sets = row_sets(codes, tables.neurons, len(names))
    parts = concept_pos(tables.prompts).dropna()
    relations = tables.prompts.dropna(subset="relation").set_index("concept")["relation"]
    counts, most = _counted(
        sets, {"pos": _labels(names, parts), "relation": _labels(names, relations)}
    )
    n_pairs = int(counts["n"].sum())
    n_concepts, n_neurons = np.unique(sets.sum(axis=0), return_counts=True)
    return {
        "n_concepts": len(names),
        "n_pairs": n_pairs,
        "mean": counts["sum"].sum() / n_pairs if n_pairs else None,
        "share_disjoint": counts["disjoint"].sum() / n_pairs if n_pairs else None,
        "max_pairs": [
            {"a": names[a], "b": names[b], "jaccard": jaccard, "shared": shared}
            for a, b, jaccard, shared in most.itertuples(index=False)
        ],
        "same_pos": _mean(counts[counts["pos"] == _SAME]),
        "different_pos": _mean(counts[counts["pos"] == _DIFFERENT]),
        "same_relation": _mean(counts[counts["relation"] == _SAME]),
        "different_relation": _mean(counts[counts["relation"] == _DIFFERENT]),
        "neurons_by_n_concepts": list(zip(n_concepts, n_neurons, strict=True)),
    }


def _labels(names: list[str], labels: pd.Series) -> Sets:
    """1 where the name (a row; the index of ``labels``) has the label (a column)."""
    rows = pd.Index(names).get_indexer(labels.index)
    columns, distinct = pd.factorize(labels)
    return incidence(rows, columns, (len(names), len(distinct)))


def _counted(sets: Sets, labels: dict[str, Sets]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Number, sum and disjoint ones of all pairs by label; the most similar pairs."""
    counts, most = [], []
    for block in _pairs(sets, labels):
        block["disjoint"] = block["shared"] == 0
        groups = block.groupby(list(labels))
        counts.append(
            groups.agg(n=("a", "size"), sum=("jaccard", "sum"), disjoint=("disjoint", "sum"))
        )
        most.append(_most_similar(block[~block["disjoint"]]))
    return pd.concat(counts).reset_index(), _most_similar(pd.concat(most))


def _pairs(sets: Sets, labels: dict[str, Sets]) -> Iterator[pd.DataFrame]:
    """Every pair of rows once, in blocks.

    Columns a and b (rows), jaccard, shared (neurons), and for each label 1 where both rows have one
    in common, 0 where not, -1 where one of them has none.
    """
    n, sizes = len(sets.indptr) - 1, np.diff(sets.indptr)
    for start in range(0, max(n, 1), _BLOCK):
        rows = slice(start, start + _BLOCK)
        later = np.arange(n) > np.arange(n)[rows, None]
        first, second = np.nonzero(later)
        first += start
        shared = (sets[rows] @ sets.T).toarray()[later]
        block = {"a": first, "b": second, "jaccard": ratio(shared, sizes[first] + sizes[second])}
        block["shared"] = shared
        for name, label in labels.items():
            has = np.diff(label.indptr) > 0
            same = (label[rows] @ label.T).toarray()[later] > 0
            block[name] = np.where(has[first] & has[second], same, _UNKNOWN)
        yield pd.DataFrame(block)


def _most_similar(pairs: pd.DataFrame) -> pd.DataFrame:
    """By Jaccard index, then by the number of shared neurons, then in the order of ``pairs``."""
    return pairs.nlargest(N_PAIRS, ["jaccard", "shared"])[["a", "b", "jaccard", "shared"]]


def _mean(counts: pd.DataFrame) -> dict[str, Any] | None:
    n = int(counts["n"].sum())
    return {"n_pairs": n, "mean": counts["sum"].sum() / n} if n else None
