"""The best neurons suppressed, by their number → how far the answer falls, random ones beside."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from kn_lightning.report.effects import quantile, share
from kn_lightning.report.statistics import MIN_N, adjusted, median_interval, signed_rank
from kn_lightning.report.tables import RunTables

SOURCES = ("top", "top_random")


def top(tables: RunTables) -> dict[str, Any]:
    """One point a number of neurons, the smallest first; empty where not asked for.

    A concept's change is (mean P after − mean P before) / mean P before over its prompts, that
    beside random neurons the mean over the draws. The test pairs both by concept.
    """
    changes = by_concept(tables.top)
    points = [
        {"k": k, **_point(changes[changes["k"] == k].drop(columns="k"))}
        for k in sorted(set(changes["k"].tolist()))
    ]
    tested = [point["test"] for point in points if point["test"]]
    for test, p in zip(tested, adjusted([test["p"] for test in tested]), strict=True):
        test["p_adjusted"] = p
    return {"points": points} if points else {}


def by_concept(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns k, concept, and the changes ``top`` and ``top_random`` (NaN where undefined)."""
    means = rows.groupby(["k", "concept", "source"], observed=True)[
        ["probability_before", "probability_after"]
    ].mean()
    before, after = means["probability_before"], means["probability_after"]
    change = ((after - before) / before).replace([np.inf, -np.inf], np.nan)
    frame = change.rename("change").reset_index()
    frame["source"] = [name.partition(":")[0] for name in frame["source"]]
    wide = frame.groupby(["k", "concept", "source"], observed=True)["change"].mean().unstack()
    return wide.reindex(columns=list(SOURCES)).reset_index()


def _point(part: pd.DataFrame) -> dict[str, Any]:
    differences = (part["top"] - part["top_random"]).dropna().to_numpy(dtype="float64")
    return {
        **{source: _distribution(part[source].dropna()) for source in SOURCES},
        "test": asdict(signed_rank(differences)) if len(differences) >= MIN_N else None,
    }


def _distribution(values: pd.Series) -> dict[str, Any]:
    return {
        "n": len(values),
        "median": values.median(),
        "median_ci": median_interval(values.to_numpy(dtype="float64")) if len(values) else None,
        "p25": quantile(values, 0.25),
        "p75": quantile(values, 0.75),
        "falls_by_half": share(values <= -0.5),
    }
