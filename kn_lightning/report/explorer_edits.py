"""Weight edits, and best neurons by number → what they do to each concept, for the Explorer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kn_lightning.report import top, weights
from kn_lightning.report.changes import relative_changes
from kn_lightning.report.tables import RunTables

WEIGHTS, TOP = "weights", "top"
"""What the names of further edits begin with: ``weights:update``, ``top:5``."""
KINDS = (
    *(f"{source} {aspect}" for source in weights.SOURCES for aspect in weights.ASPECTS.values()),
    *top.SOURCES,
)


def further_changes(tables: RunTables) -> pd.DataFrame:
    """Columns edit, kind, concept, before, after and change; several draws are averaged.

    Concepts without knowledge neurons have no weight edits, but best neurons they have.
    """
    parts = [_weights(tables), _top(tables)]
    found = [relative_changes(part.assign(log_odds=np.nan)) for part in parts if len(part)]
    columns = ["edit", "kind", "concept", "before", "after", "change"]
    return pd.concat(found)[columns] if found else pd.DataFrame(columns=columns)


def further_order(tables: RunTables) -> list[str]:
    """All further edits: those of weights as they were asked for, then the fewest neurons first."""
    asked = [] if tables.weight_edits is None else _weights(tables)["edit"].unique().tolist()
    return asked + [f"{TOP}:{k}" for k in sorted(set(tables.top["k"].tolist()))]


def _weights(tables: RunTables) -> pd.DataFrame:
    rows = tables.weight_edits
    if rows is None:
        return pd.DataFrame()
    rows = rows[rows["concept"].isin(tables.neurons["concept"].unique())]
    sources = rows["neurons"].astype("str").str.split(":").str[0]
    kinds = sources + " " + rows["prompt_kind"].astype("str").map(weights.ASPECTS)
    return rows.assign(edit=f"{WEIGHTS}:" + rows["edit"].astype("str"), kind=kinds)


def _top(tables: RunTables) -> pd.DataFrame:
    rows = tables.top
    return rows.assign(
        edit=f"{TOP}:" + rows["k"].astype("str"), kind=rows["source"].str.split(":").str[0]
    )
