"""Agreement of attributions, one row a prompt → its distribution over concepts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kn_lightning.report.effects import quantile
from kn_lightning.report.statistics import median_interval
from kn_lightning.report.tables import RunTables

MEASURES = ("overlap_10", "overlap_coarse", "spearman_candidates", "spearman")


def agreement(tables: RunTables) -> dict[str, dict[str, Any]]:
    """Each compared attribution beside the study's own, in the order asked for; empty of none.

    A concept's value is the mean over its prompts, where it is defined: prompts of one concept are
    no independent draws.
    """
    groups = tables.agreement.groupby("attribution", sort=False)
    return {
        str(name): {
            "n_prompts": len(rows),
            "n_candidates": rows["n_candidates"].mean(),
            "measures": {
                measure: _distribution(by_concept(tables, str(name), measure))
                for measure in MEASURES
            },
        }
        for name, rows in groups
    }


def by_concept(tables: RunTables, attribution: str, measure: str) -> pd.Series:
    """The mean of a measure over the prompts of each concept that has it."""
    frame = tables.agreement
    rows = frame[frame["attribution"] == attribution]
    concepts = rows["prompt_id"].map(tables.prompts.set_index("prompt_id")["concept"])
    return rows[measure].groupby(concepts).mean().dropna()


def _distribution(values: pd.Series) -> dict[str, Any]:
    return {
        "n": len(values),
        "median": values.median(),
        "median_ci": median_interval(values.to_numpy()),
        "p05": quantile(values, 0.05),
        "p25": quantile(values, 0.25),
        "p75": quantile(values, 0.75),
        "p95": quantile(values, 0.95),
    }
