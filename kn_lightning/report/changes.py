"""Edits → the relative change of each concept, by edit and by kind of prompts and neurons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

KINDS = ("own", "other", "unrelated", "negated", "random", "activation", "foreign")
"""Kinds in the order of tables and figures; any other comes behind them under its own name.

own, other, unrelated, negated: knowledge neurons on the concept's own prompts, on those of other
concepts, on those of the fixed unrelated one and on prompts that say the opposite of own ones.
random, activation, foreign: other neurons on the concept's own prompts.
"""

_FACTORS = {"suppress": 0.0, "amplify": 2.0}


@dataclass(frozen=True, slots=True)
class Changes:
    """What the edits of a run changed.

    Attributes:
        prompts: From ``measured_edits``: one row a prompt, edit and set of neurons.
        concepts: From ``relative_changes``: one row a concept, edit and kind.
    """

    prompts: pd.DataFrame
    concepts: pd.DataFrame


def measured_changes(edits: pd.DataFrame, neurons: pd.DataFrame) -> Changes:
    """The changes of a run's concepts, by prompt and by concept."""
    rows = measured_edits(edits, neurons)
    return Changes(prompts=rows, concepts=relative_changes(rows))


def kind_name(neurons: str, prompt_kind: str) -> str:
    """The kind of a row of ``edits``: ``random:0`` and ``random:1`` are one kind."""
    family = neurons.split(":")[0]
    if family == "knowledge":
        return "own" if prompt_kind == "related" else prompt_kind
    return family if prompt_kind == "related" else f"{family} on {prompt_kind}"


def kind_order(kinds: pd.Series | list[str]) -> list[str]:
    """The distinct kinds, the known ones first."""
    found = set(kinds)
    return [kind for kind in KINDS if kind in found] + sorted(found - set(KINDS))


def edit_order(edits: pd.Series | list[str]) -> list[str]:
    """The distinct edits: suppress, amplify, then factors from small to large, then the rest."""

    def place(edit: str) -> tuple[int, float, str]:
        if edit in _FACTORS:
            return 0, _FACTORS[edit], edit
        by = factor(edit)
        return (2, 0.0, edit) if by is None else (1, by, edit)

    return sorted(set(edits), key=place)


def factor(edit: str) -> float | None:
    """What an edit multiplies activations with; None where it does something else."""
    name, _, value = edit.partition(":")
    try:
        return float(value) if name == "factor" else _FACTORS.get(edit)
    except ValueError:
        return None


def measured_edits(edits: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """The edits of concepts with knowledge neurons, with what is counted from each row.

    Concepts without knowledge neurons have nothing to edit: their "change" of 0 would say something
    about the threshold and nothing about the neurons.

    Returns:
        ``edits`` with columns ``kind``, ``log_odds`` (its change), ``argmax_changed`` (1 or 0).
    """
    rows = edits[edits["concept"].isin(neurons["concept"].unique())].copy()
    for column in ("concept", "edit"):
        rows[column] = rows[column].cat.remove_unused_categories()
    pairs = rows[["neurons", "prompt_kind"]].drop_duplicates()
    pairs["kind"] = [kind_name(*pair) for pair in pairs.itertuples(index=False)]
    rows = rows.merge(pairs, on=["neurons", "prompt_kind"], how="left")
    rows["kind"] = rows["kind"].astype("category")
    # An empty set of control neurons (another concept's, which has none) is no measurement of 0.
    rows.loc[rows["n_neurons"] == 0, ["probability_after", "log_odds_after"]] = np.nan
    rows["log_odds"] = rows["log_odds_after"] - rows["log_odds_before"]
    rows["argmax_changed"] = (rows["argmax_before"] != rows["argmax_after"]).astype("float64")
    return rows


def relative_changes(rows: pd.DataFrame, by: list[str] | None = None) -> pd.DataFrame:
    """(mean P after - mean P before) / mean P before over the prompts of each concept.

    Several sets of neurons of one kind (random:0, random:1, ...) are averaged after that.

    Args:
        rows: From ``measured_edits``.
        by: Further columns to split by.

    Returns:
        Columns edit, kind, concept and those of ``by``; ``before`` and ``after`` (probabilities);
        ``change`` (a fraction, NaN where it has no value); ``log_odds`` (mean change of the
        log-odds, NaN where not finite).
    """
    keys = [*(by or []), "edit", "kind", "concept"]
    columns = {"probability_before": "before", "probability_after": "after"}
    sets = (
        rows.groupby([*keys, "neurons"], observed=True, dropna=False)[[*columns, "log_odds"]]
        .mean(skipna=False)  # A prompt without a value must not turn into a mean over the others.
        .rename(columns=columns)
        .reset_index()
    )
    sets["change"] = (sets["after"] - sets["before"]) / sets["before"]
    values = ["before", "after", "change", "log_odds"]
    # A concept whose probability was 0 has no relative change: undefined and counted, never 0.
    sets[values] = sets[values].replace([np.inf, -np.inf], np.nan)
    return sets.groupby(keys, observed=True, dropna=False)[values].mean().reset_index()


def change_values(changes: pd.DataFrame, edit: str, kind: str) -> pd.Series:
    """The defined changes of an edit and kind, indexed by concept (fractions)."""
    rows = changes[(changes["edit"] == edit) & (changes["kind"] == kind)]
    return pd.Series(
        rows["change"].to_numpy(), index=rows["concept"].astype("str"), dtype="float64"
    ).dropna()
