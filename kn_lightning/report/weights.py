"""Weight edits → reliability, generality and locality of each, with random neurons beside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kn_lightning.report.statistics import mean_interval, median_interval

ASPECTS = {
    "related": "reliability",
    "held_out": "generality",
    "unrelated": "locality_unrelated",
    "other": "locality_other",
}
"""What each kind of prompts says of a weight edit, in the order of tables and figures."""
SOURCES = ("knowledge", "random")
MEASURES = ("change", "falls", "as_intended", "target_before", "target_after")
"""Of a concept, by the prompts of one kind.

change: (mean P after - mean P before) / mean P before, of each prompt's own answer.
falls: share of prompts where that P falls.
as_intended: share of first guesses that are what the edit wants. On the concept's own prompts,
erase wants another one where the answer came first before, update wants the new answer; on all
other prompts both want the one from before.
target_before, target_after: mean P of the new answer of an update.
"""

UPDATE = "update"
_OWN = ("reliability", "generality")


def weight_edits(rows: pd.DataFrame | None, neurons: pd.DataFrame) -> dict[str, Any]:
    """By edit, source of the neurons and aspect: each measure's median and mean over concepts.

    Args:
        rows: The table of weight edits; None where the study has none.
        neurons: That of knowledge neurons; concepts without any have nothing to edit.
    """
    if rows is None:
        return {}
    measured = by_concept(rows[rows["concept"].isin(neurons["concept"].unique())])
    result: dict[str, Any] = {}
    for edit in dict.fromkeys(rows["edit"].astype("str")):
        result[edit] = {}
        for source in SOURCES:
            part = measured[(measured["edit"] == edit) & (measured["source"] == source)]
            found = {name: part[part["aspect"] == name] for name in ASPECTS.values()}
            # No control, or nothing held out: not asked for, and left out.
            if aspects := {name: _over_concepts(own) for name, own in found.items() if len(own)}:
                result[edit][source] = aspects
    return result


def by_concept(rows: pd.DataFrame) -> pd.DataFrame:
    """Each concept's measures; several draws of random neurons are averaged.

    Returns:
        Columns edit, source, aspect, concept, n_prompts and those of ``MEASURES``, NaN where a
        measure has no value.
    """
    rows = rows.assign(
        source=rows["neurons"].astype("str").str.split(":").str[0],
        aspect=rows["prompt_kind"].astype("str").map(ASPECTS),
        falls=(rows["probability_after"] < rows["probability_before"]).astype("float64"),
        as_intended=np.nan,
    )
    rows["as_intended"] = _as_intended(rows)
    keys = ["edit", "source", "aspect", "concept"]
    columns = {
        "probability_before": "before",
        "probability_after": "after",
        "target_probability_before": "target_before",
        "target_probability_after": "target_after",
    }
    means = [*columns, "falls", "as_intended"]
    groups = rows.groupby([*keys, "neurons"], observed=True)
    sets = groups[means].mean().rename(columns=columns)
    sets["n_prompts"] = groups.size()
    # A probability of 0 before has no relative change.
    sets["change"] = (sets["after"] - sets["before"]) / sets["before"].where(sets["before"] > 0)
    found = sets.groupby(keys, observed=True)[[*MEASURES, "n_prompts"]].mean().reset_index()
    return found.astype({"edit": "str", "concept": "str"})


def _as_intended(rows: pd.DataFrame) -> pd.Series:
    """1 or 0 for each row, NaN where an erased answer didn't come first anyway."""
    kept = rows["argmax_after"] == rows["argmax_before"]
    lost = (rows["rank_after"] > 1).where(rows["rank_before"] == 1)
    won = (rows["target_rank_after"] == 1).where(rows["target_rank_after"].notna())
    own, updated = rows["aspect"].isin(_OWN), rows["edit"].astype("str") == UPDATE
    wanted = lost.astype("float64").where(~updated, won.astype("float64"))
    return wanted.where(own, kept.astype("float64"))


def _over_concepts(part: pd.DataFrame) -> dict[str, Any]:
    """The distribution of every measure; a measure without any value has none."""
    result: dict[str, Any] = {"n": len(part), "n_prompts": part["n_prompts"].sum()}
    for name in MEASURES:
        values = part[name].dropna().to_numpy()
        result[name] = {
            "n": len(values),
            "median": np.median(values) if len(values) else None,
            "median_ci": median_interval(values) if len(values) else None,
            "mean": values.mean() if len(values) else None,
            "mean_ci": mean_interval(values) if len(values) else None,
        }
    return result
