"""Changes of concepts → tests: own against each control, nouns against other parts of speech."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from kn_lightning.report import statistics
from kn_lightning.report.changes import change_values, edit_order, factor, kind_order

NOUN = "noun"
REST = ("verb", "adjective", "adverb")
"""What the paper compares nouns with, taken together; here also one by one."""

Rows = list[dict[str, Any]]


def settings() -> dict[str, Any]:
    """What the tests and the intervals of a summary are made with."""
    return {
        "alpha": statistics.ALPHA,
        "min_n": statistics.MIN_N,
        "level": statistics.LEVEL,
        "resamples": statistics.RESAMPLES,
        "seed": statistics.SEED,
    }


def tests(changes: pd.DataFrame, parts: pd.Series) -> Rows:
    """Every test with enough concepts on both sides; a factor of 1 edits nothing and has none.

    Args:
        changes: From ``relative_changes``.
        parts: The part of speech of each concept, null where unknown.

    Returns:
        One dict a test: ``family``, ``edit``, ``a`` and ``b`` (the two sides), the fields of
        ``statistics.Comparison``, ``difference`` (the median of the paired differences a - b, or
        the difference of the medians) and ``difference_ci``, ``p_adjusted`` within the family,
        ``significant``.
    """
    edits = [edit for edit in edit_order(changes["edit"].unique().tolist()) if factor(edit) != 1]
    return [
        *_family("controls", [row for edit in edits for row in _controls(changes, edit)]),
        *_family("pos", [row for edit in edits for row in _parts_of_speech(changes, edit, parts)]),
    ]


def _family(name: str, rows: Rows) -> Rows:
    p_values = statistics.adjusted([row["p"] for row in rows])
    return [
        {"family": name} | row | {"p_adjusted": p, "significant": p < statistics.ALPHA}
        for row, p in zip(rows, p_values, strict=True)
    ]


def _controls(changes: pd.DataFrame, edit: str) -> Rows:
    """Own against every other kind, paired by concept."""
    own = change_values(changes, edit, "own")
    rows = []
    for kind in kind_order(changes.loc[changes["edit"] == edit, "kind"].unique().tolist()):
        differences = (own - change_values(changes, edit, kind)).dropna().to_numpy()
        if kind == "own" or len(differences) < statistics.MIN_N:
            continue
        shift = {
            "difference": pd.Series(differences).median(),
            "difference_ci": statistics.median_interval(differences),
        }
        compared = asdict(statistics.signed_rank(differences))
        rows.append({"edit": edit, "a": "own", "b": kind} | compared | shift)
    return rows


def _parts_of_speech(changes: pd.DataFrame, edit: str, parts: pd.Series) -> Rows:
    """Own changes of nouns against those of verbs, adjectives and adverbs."""
    own = change_values(changes, edit, "own")
    part = parts.reindex(own.index)
    nouns = own[part == NOUN].to_numpy()
    rows = []
    for names in (REST, *((name,) for name in REST)):
        others = own[part.isin(names)].to_numpy()
        if min(len(nouns), len(others)) < statistics.MIN_N:
            continue
        shift = {
            "difference": pd.Series(nouns).median() - pd.Series(others).median(),
            "difference_ci": statistics.median_difference_interval(nouns, others),
        }
        for compare in (statistics.rank_sum, statistics.kolmogorov_smirnov):
            compared = asdict(compare(nouns, others))
            rows.append({"edit": edit, "a": NOUN, "b": "/".join(names)} | compared | shift)
    return rows
