"""Changes → how far probabilities move: by edit and kind, and beside each control."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from kn_lightning.report.changes import Changes, change_values, edit_order, factor, kind_order
from kn_lightning.report.statistics import mean_interval, median_interval

HISTOGRAMS = {"suppress": (-1.0, 0.4, 28), "amplify": (-1.0, 10.0, 44)}
"""Lowest and highest relative change (fractions) and number of bins, as in the paper."""
SHOWN = ("own", "unrelated", "random")
"""The kinds that a histogram draws."""

# A control whose median reaches these parts of the own median is named in the report's caveats.
_AS_MUCH, _NOTABLE = 0.9, 0.5
# Own changes that are all smaller than this (a fraction) are rounding.
_STILL = 1e-4


def by_edit_and_kind(measured: Changes) -> dict[str, dict[str, Any]]:
    """The distribution of the relative change over concepts, for every edit and kind."""
    rows, changes = measured.prompts, measured.concepts
    result: dict[str, dict[str, Any]] = {}
    for edit in edit_order(changes["edit"].unique().tolist()):
        part, raw = changes[changes["edit"] == edit], rows[rows["edit"] == edit]
        result[edit] = {
            kind: _change(part[part["kind"] == kind], raw[raw["kind"] == kind])
            for kind in kind_order(part["kind"].unique().tolist())
        }
    return result


def _change(part: pd.DataFrame, raw: pd.DataFrame) -> dict[str, Any]:
    values = part["change"].dropna()
    measured = raw[raw["probability_after"].notna()]
    return {
        "n": len(values),
        "n_undefined": len(part) - len(values),
        "mean": values.mean(),
        "median": values.median(),
        "mean_ci": mean_interval(values.to_numpy()),
        "median_ci": median_interval(values.to_numpy()),
        "p05": quantile(values, 0.05),
        "p25": quantile(values, 0.25),
        "p75": quantile(values, 0.75),
        "p95": quantile(values, 0.95),
        "falls": share(values < 0),
        "rises": share(values > 0),
        "log_odds": part["log_odds"].mean(),
        "n_log_odds": int(part["log_odds"].notna().sum()),
        "n_prompts": len(measured),
        "argmax_changed": measured["argmax_changed"].mean(),
    }


def controls(changes: pd.DataFrame, tests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How far each kind moves beside own, over the concepts that have both values.

    Without a test (too few pairs), and for an edit that moves nothing, there is no ``reading``.

    Args:
        changes: From ``relative_changes``.
        tests: From ``comparisons.tests``.
    """
    found = {(row["edit"], row["b"]): row for row in tests if row["family"] == "controls"}
    result = []
    for edit in edit_order(changes["edit"].unique().tolist()):
        own = change_values(changes, edit, "own")
        for kind in kind_order(changes.loc[changes["edit"] == edit, "kind"].unique().tolist()):
            control = change_values(changes, edit, kind)
            pairs = pd.concat([own, control], axis=1, join="inner", keys=["own", "control"])
            if kind == "own" or pairs.empty:
                continue
            own_median, control_median = pairs["own"].median(), pairs["control"].median()
            ratio = abs(control_median / own_median) if own_median else math.inf
            sizes = pairs.abs()
            still = factor(edit) == 1 or sizes["own"].max() < _STILL
            test = found.get((edit, kind), {})
            result.append(
                {
                    "edit": edit,
                    "control": kind,
                    "own_median": own_median,
                    "control_median": control_median,
                    "ratio": ratio,
                    "reading": _reading(ratio, test["significant"]) if test and not still else None,
                    "n_pairs": len(pairs),
                    "own_moves_more": share(sizes["own"] > sizes["control"]),
                    "effect_size": test.get("effect_size"),
                    "p_adjusted": test.get("p_adjusted"),
                }
            )
    return result


def _reading(ratio: float, significant: bool) -> str:
    """``less``, ``notable``, ``as_much`` or ``unclear``, by sizes and by the paired test.

    A control that moves less far than own but that its test does not tell apart leaves it unclear.

    Args:
        ratio: The control's median over that of own, without signs.
        significant: What the paired test found.
    """
    if ratio >= _AS_MUCH:
        return "as_much"
    if not significant:
        return "unclear"
    return "notable" if ratio >= _NOTABLE else "less"


def histograms(changes: pd.DataFrame) -> dict[str, Any]:
    """The bins of each histogram and how many concepts lie outside them, for every kind."""
    result: dict[str, Any] = {}
    for edit, (low, high, bins) in HISTOGRAMS.items():
        kinds = {}
        for kind in kind_order(changes.loc[changes["edit"] == edit, "kind"].unique().tolist()):
            values = change_values(changes, edit, kind)
            below, above = outside(values, low, high)
            kinds[kind] = {
                "n": len(values),
                "below": below,
                "above": above,
                "largest": values.max(),
            }
        result[edit] = {"low": low, "high": high, "bins": bins, "kinds": kinds}
    return result


def outside(values: pd.Series, low: float, high: float) -> tuple[int, int]:
    """How many values lie below and above a histogram's range (its borders belong to it)."""
    return int((values < low).sum()), int((values > high).sum())


def share(mask: pd.Series) -> float | None:
    """The part that is true; None of nothing."""
    return float(mask.mean()) if len(mask) else None


def quantile(values: pd.Series, at: float) -> float | None:
    """The value below which a part ``at`` lies; None of nothing."""
    return float(values.quantile(at)) if len(values) else None
