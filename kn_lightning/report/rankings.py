"""Frames → the tables of the report: concepts, shared neurons, relations and parts of speech."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import pandas as pd

from kn_lightning.report.changes import change_values, edit_order, relative_changes
from kn_lightning.report.tables import RunTables

KITTEN = "kitten"
"""The concept around which the paper's figures 3 and 4 are drawn."""
N_WINDOW = 15
N_CONCEPTS = 20
N_SHARED = 15
_N_EXAMPLES = 5

Rows = list[dict[str, Any]]


def window(changes: pd.DataFrame, edit: str) -> Rows:
    """The 15 concepts around "kitten" in dictionary order, or around where it would stand."""
    own = change_values(changes, edit, "own")
    unrelated = change_values(changes, edit, "unrelated")
    names = sorted(own.index, key=_dictionary)
    middle = bisect_left(names, _dictionary(KITTEN), key=_dictionary)
    start = max(0, min(middle - N_WINDOW // 2, len(names) - N_WINDOW))
    return [
        {"concept": name, "own": own[name], "unrelated": unrelated.get(name)}
        for name in names[start : start + N_WINDOW]
    ]


def _dictionary(name: str) -> tuple[str, str]:
    return name.casefold(), name


def most_neurons(tables: RunTables, changes: pd.DataFrame) -> Rows:
    """The concepts with most knowledge neurons, most first."""
    sizes = tables.neurons["concept"].value_counts()
    first = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:N_CONCEPTS]
    prompts = tables.prompts.groupby("concept")["probability"].agg(["size", "mean"])
    suppress = change_values(changes, "suppress", "own")
    amplify = change_values(changes, "amplify", "own")
    return [
        {
            "concept": concept,
            "neurons": size,
            "prompts": int(prompts["size"].get(concept, 0)),
            "mean_probability": prompts["mean"].get(concept),
            "suppress": suppress.get(concept),
            "amplify": amplify.get(concept),
        }
        for concept, size in first
    ]


def strongest_suppression(neurons: pd.DataFrame, changes: pd.DataFrame) -> Rows:
    """The concepts whose own probability falls most under suppression, in relative terms."""
    own = changes[(changes["edit"] == "suppress") & (changes["kind"] == "own")].dropna(
        subset="change"
    )
    sizes = neurons["concept"].value_counts()
    random = change_values(changes, "suppress", "random")
    return [
        {
            "concept": row["concept"],
            "neurons": int(sizes[row["concept"]]),
            "before": row["before"],
            "after": row["after"],
            "change": row["change"],
            "random": random.get(row["concept"]),
        }
        for row in own.astype({"concept": "str"})
        .sort_values(["change", "concept"])
        .head(N_CONCEPTS)
        .to_dict("records")
    ]


def shared_neurons(neurons: pd.DataFrame) -> Rows:
    """The neurons that are knowledge neurons of most concepts (of two at least), most first."""
    sizes = neurons.groupby(["layer", "neuron"]).size()
    shared = sizes[sizes > 1].reset_index(name="concepts")
    first = shared.sort_values(["concepts", "layer", "neuron"], ascending=[False, True, True]).head(
        N_SHARED
    )
    n_concepts = neurons["concept"].nunique()
    result = []
    for row in first.to_dict("records"):
        users = neurons[(neurons["layer"] == row["layer"]) & (neurons["neuron"] == row["neuron"])]
        users = users.sort_values(["score", "concept"], ascending=[False, True])
        result.append(
            {
                "layer": row["layer"],
                "neuron": row["neuron"],
                "concepts": row["concepts"],
                "share": row["concepts"] / n_concepts,
                "examples": users["concept"].head(_N_EXAMPLES).tolist(),
            }
        )
    return result


def by_relation(prompts: pd.DataFrame, rows: pd.DataFrame) -> Rows:
    """Concepts, prompts and the median own change of each relation; empty where no prompt has one.

    A concept's change in a relation is taken over its prompts of that relation alone.
    """
    if prompts["relation"].isna().all():
        return []
    own = rows[rows["kind"] == "own"]
    own = own.assign(
        relation=own["prompt_id"].astype("str").map(prompts.set_index("prompt_id")["relation"])
    )
    changes = relative_changes(own, by=["relation"])
    return _split(prompts, changes, "relation")


def by_pos(prompts: pd.DataFrame, changes: pd.DataFrame) -> Rows:
    """Concepts, prompts and the median own change of each part of speech; empty without any."""
    parts = concept_pos(prompts)
    if parts.isna().all():
        return []
    own = changes[changes["kind"] == "own"]
    own = own.assign(pos=own["concept"].astype("str").map(parts))
    return _split(prompts.assign(pos=prompts["concept"].map(parts)), own, "pos")


def concept_pos(prompts: pd.DataFrame) -> pd.Series:
    """The most frequent part of speech of each concept's prompts, null where none is given."""
    counts = prompts.groupby(["concept", "pos"]).size().reset_index(name="n")
    first = counts.sort_values(["n", "pos"], ascending=[False, True]).drop_duplicates("concept")
    return first.set_index("concept")["pos"].reindex(sorted(prompts["concept"].unique()))


def _split(prompts: pd.DataFrame, changes: pd.DataFrame, column: str) -> Rows:
    result: Rows = []
    edits = edit_order(changes["edit"].unique().tolist())
    for name, part in prompts.groupby(column, dropna=False):
        here = (
            changes[changes[column].isna()] if pd.isna(name) else changes[changes[column] == name]
        )
        by_edit = {edit: here.loc[here["edit"] == edit, "change"] for edit in edits}
        result.append(
            {
                column: None if pd.isna(name) else name,
                "concepts": part["concept"].nunique(),
                "prompts": len(part),
                "concepts_measured": here.dropna(subset="change")["concept"].nunique(),
                "own_n": {edit: int(own.count()) for edit, own in by_edit.items()},
                "own_median": {edit: own.median() for edit, own in by_edit.items()},
            }
        )
    return sorted(result, key=lambda row: -row["prompts"])
