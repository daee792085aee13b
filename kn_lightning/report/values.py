"""Value vectors → where a concept stands among what its neurons promote, random ones beside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from kn_lightning.report.effects import share
from kn_lightning.report.statistics import MIN_N, adjusted, median_interval, signed_rank
from kn_lightning.report.tables import RunTables

SOURCES = ("knowledge", "random")
N_STRONGEST = 25
_N_PROMPTS = 2


def values(tables: RunTables) -> dict[str, Any]:
    """Ranks of concepts, tests, and the strongest neurons in words; empty where not asked for.

    A concept's rank is the median over its neurons, or over all random ones drawn beside them;
    concepts are the pairs of a test. A rank differs by its logarithm: from 1 to 10 is as far as
    from 1,000 to 10,000.
    """
    if tables.values is None:
        return {}
    rows = ranks(tables.values)
    own = rows[rows["source"] == "knowledge"]
    layers = {
        layer: _compared(rows[rows["layer"] == layer])
        for layer in sorted(rows["layer"].unique().tolist())
    }
    tested = [layer for layer in layers.values() if layer["test"]]
    p_values = adjusted([layer["test"]["p"] for layer in tested])
    for layer, p in zip(tested, p_values, strict=True):
        layer["test"]["p_adjusted"] = p
    return {
        **_compared(rows),
        "n_tokens": tables.environment["encoder"]["vocabulary"],
        "negative": share(own["activation"] < 0),
        "by_layer": layers,
        "strongest": _strongest(tables),
    }


def ranks(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns concept, source, layer, rank and activation; one row a neuron of a concept."""
    source = rows["neurons"].astype("str").str.split(":").str[0]
    kept = rows[["concept", "layer", "rank", "activation"]]
    return kept.assign(source=source).astype({"concept": "str"})


def _compared(rows: pd.DataFrame) -> dict[str, Any]:
    """Both sources, and the test of the concepts that have a rank of either."""
    pairs = rows.groupby(["concept", "source"])["rank"].median().unstack("source")
    both = pairs.reindex(columns=list(SOURCES)).dropna()
    # Positive where the concept stands higher with its own neurons.
    higher = np.log10((both["random"] / both["knowledge"]).to_numpy(dtype="float64"))
    interval = median_interval(higher) if len(higher) else None
    return {
        **{name: _ranked(rows[rows["source"] == name]) for name in SOURCES},
        "n": len(both),
        "times": 10 ** np.median(higher) if len(higher) else None,
        "times_ci": None if interval is None else [10**limit for limit in interval],
        "test": asdict(signed_rank(higher)) if len(higher) >= MIN_N else None,
    }


def _ranked(rows: pd.DataFrame) -> dict[str, Any]:
    """Medians over concepts, each of which is the median over its neurons; shares likewise."""

    def over_concepts(measure: Callable[[pd.Series], Any]) -> pd.Series:
        return rows.groupby("concept")["rank"].agg(measure)

    medians = over_concepts(lambda rank: rank.median())
    return {
        "n_concepts": len(medians),
        "n_neurons": len(rows),
        "median": medians.median(),
        "median_ci": median_interval(medians.to_numpy(dtype="float64")) if len(medians) else None,
        "p25": rows["rank"].quantile(0.25),
        "p75": rows["rank"].quantile(0.75),
        "top_10": over_concepts(lambda rank: (rank <= 10).mean()).mean(),
        "top_100": over_concepts(lambda rank: (rank <= 100).mean()).mean(),
    }


def _strongest(tables: RunTables) -> list[dict[str, Any]]:
    """The neuron with the largest score of each concept, of the concepts where it is largest."""
    assert tables.values is not None
    order = tables.neurons.sort_values("score", ascending=False, kind="stable")
    best = order.drop_duplicates("concept").head(N_STRONGEST)
    rows = tables.values[tables.values["neurons"] == "knowledge"].astype({"concept": "str"})
    found = best.merge(rows, on=["concept", "layer", "neuron"], how="inner")
    texts = tables.prompts.set_index("prompt_id")["prompt"]
    return [
        {
            **{name: row[name] for name in ("concept", "layer", "neuron", "rank", "answer")},
            "score": row["score"],
            "promoted": list(row["promoted"]),
            "demoted": list(row["demoted"]),
            "prompts": [texts.get(prompt, prompt) for prompt in row["prompts"][:_N_PROMPTS]],
        }
        for row in found.to_dict("records")
    ]
