"""The tables of a run → ``summary.json``: every number that the report prints."""

from __future__ import annotations

import json
import math
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from kn_lightning.report import (
    agreement,
    comparisons,
    consistency,
    doses,
    effects,
    rankings,
    top,
    values,
    weights,
)
from kn_lightning.report.changes import Changes, change_values
from kn_lightning.report.effects import quantile, share
from kn_lightning.report.tables import RunTables
from kn_lightning.schema import INTEGRATED_GRADIENTS

SUMMARY_VERSION = 1

PUBLISHED = {
    "encoder": "bert-base-uncased",
    "concepts": 702,
    "neurons": 4685,
    "by_layer": [7, 8, 3, 22, 8, 38, 32, 216, 565, 722, 1184, 1880],
}
"""Knowledge neurons that the paper's authors found and released (Ariyama et al. 2022)."""


def summary(tables: RunTables, measured: Changes) -> dict[str, Any]:
    """Every number of the report in JSON's own types, None where undefined.

    Changes and shares are fractions: -0.25 is a fall by a quarter.
    """
    rows, changes = measured.prompts, measured.concepts
    sizes = neurons_per_concept(tables)
    bare = sizes.index[sizes == 0].tolist()
    by_kind = effects.by_edit_and_kind(measured)
    tests = comparisons.tests(changes, rankings.concept_pos(tables.prompts))
    numbers = {
        "summary_version": SUMMARY_VERSION,
        "run": tables.name,
        "counts": _counts(tables),
        "concepts_without_neurons": len(bare),
        "names_without_neurons": bare,
        "known": _known(tables.prompts),
        "completeness": _completeness(tables),
        "ablated": _ablated(tables),
        "agreement": agreement.agreement(tables),
        "neurons": _neurons(tables),
        "published": _published(tables.environment["encoder"]),
        "consistency": consistency.consistency(tables),
        "similarity": consistency.similarity(tables),
        "overlap": consistency.overlap(tables),
        "changes": by_kind,
        "doses": doses.doses(by_kind),
        "top": top.top(tables),
        "weight_edits": weights.weight_edits(tables.weight_edits, tables.neurons),
        "values": values.values(tables),
        "own_falls_under_suppression": share(change_values(changes, "suppress", "own") < 0),
        "controls": effects.controls(changes, tests),
        "tests": tests,
        "test_settings": comparisons.settings(),
        "histograms": effects.histograms(changes),
        "window": {edit: rankings.window(changes, edit) for edit in effects.HISTOGRAMS},
        "by_relation": rankings.by_relation(tables.prompts, rows),
        "by_pos": rankings.by_pos(tables.prompts, changes),
        "most_neurons": rankings.most_neurons(tables, changes),
        "strongest_suppression": rankings.strongest_suppression(tables.neurons, changes),
        "shared_neurons": rankings.shared_neurons(tables.neurons),
        "environment": tables.environment,
    }
    return {key: _plain(value) for key, value in numbers.items()}


def as_json(numbers: dict[str, Any]) -> str:
    """The text of ``summary.json``."""
    return json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def relative_residuals(tables: RunTables) -> pd.Series:
    """|residual| of each prompt and layer over the largest |total| of that prompt's layers.

    A prompt whose totals are all 0 has none (NaN).
    """
    frame = tables.completeness
    largest = frame["total"].abs().groupby(frame["prompt_id"]).transform("max")
    return frame["residual"].abs() / largest.where(largest > 0)


def neurons_per_concept(tables: RunTables) -> pd.Series:
    """The number of knowledge neurons of every concept, 0 included, indexed by concept."""
    sizes = tables.neurons["concept"].value_counts()
    return sizes.reindex(sorted(tables.prompts["concept"].unique()), fill_value=0)


def _counts(tables: RunTables) -> dict[str, Any]:
    skipped = tables.skipped.assign(whole=tables.skipped["prompt"].isna())
    by_reason = [
        {
            "reason": reason,
            "concepts": int(part["whole"].sum()),
            "prompts": int((~part["whole"]).sum()),
        }
        for reason, part in skipped.groupby("reason", dropna=False)
    ]
    return {
        "concepts": tables.prompts["concept"].nunique(),
        "prompts": len(tables.prompts),
        "skipped_concepts": int(skipped["whole"].sum()),
        "skipped_prompts": int((~skipped["whole"]).sum()),
        "skipped_by_reason": sorted(by_reason, key=lambda row: -row["concepts"] - row["prompts"]),
    }


def _known(prompts: pd.DataFrame) -> dict[str, Any]:
    return {
        "share_rank_1": share(prompts["rank"] == 1),
        "share_rank_10": share(prompts["rank"] <= 10),
        "concepts_never_guessed": int((prompts.groupby("concept")["rank"].min() > 10).sum()),
        "mean_probability": prompts["probability"].mean(),
        "median_probability": prompts["probability"].median(),
    }


def _ablated(tables: RunTables) -> dict[str, Any] | None:
    """Of ``path=neuron``: prompts with so many coarse neurons that candidates may not suffice."""
    study = tables.environment["study"]
    candidates = study.get("candidates")  # earlier versions have not noted it
    if study["path"] != "neuron" or candidates is None:
        return None
    return {
        "candidates": candidates,
        "n": len(tables.prompts),
        "n_crowded": int((4 * tables.prompts["n_coarse"] > candidates).sum()),
    }


def _completeness(tables: RunTables) -> dict[str, Any]:
    values = relative_residuals(tables)
    defined = values.dropna()
    study = tables.environment["study"]
    # Others need not add up to the total: there is nothing to tolerate.
    exact = study.get("attribution", INTEGRATED_GRADIENTS) == INTEGRATED_GRADIENTS
    tolerance = study["tolerance"] if exact else None
    per_prompt = tables.prompts["evaluations"].mean()
    return {
        "n": len(defined),
        "n_undefined": len(values) - len(defined),
        "max": defined.max(),
        "p95": quantile(defined, 0.95),
        "median": defined.median(),
        "tolerance": tolerance,
        "n_above_tolerance": None if tolerance is None else int((defined > tolerance).sum()),
        "evaluations_per_prompt": per_prompt,
        "evaluations_per_layer": per_prompt / tables.environment["encoder"]["n_layers"],
    }


def _neurons(tables: RunTables) -> dict[str, Any]:
    sizes = neurons_per_concept(tables)
    layers = tables.neurons["layer"].value_counts()
    n_layers = tables.environment["encoder"]["n_layers"]
    distinct = tables.neurons[["layer", "neuron"]].drop_duplicates()
    return {
        "total": len(tables.neurons),
        "distinct": len(distinct),
        "per_concept": _sizes(sizes),
        "per_concept_with_neurons": _sizes(sizes[sizes > 0]),
        "by_layer": [int(layers.get(layer, 0)) for layer in range(n_layers)],
        "distinct_by_layer": [int((distinct["layer"] == layer).sum()) for layer in range(n_layers)],
    }


def _published(encoder: dict[str, Any]) -> dict[str, Any] | None:
    """The authors' counts, where they are of the same encoder."""
    same = PurePosixPath(encoder["id"]).name == PUBLISHED["encoder"] and encoder["n_layers"] == 12
    return PUBLISHED if same else None


def _sizes(sizes: pd.Series) -> dict[str, Any]:
    return {
        "n": len(sizes),
        "mean": sizes.mean(),
        "median": sizes.median(),
        "min": sizes.min() if len(sizes) else None,
        "max": sizes.max() if len(sizes) else None,
    }


def _plain(value: object) -> Any:
    """``value`` in JSON's own types; what is not finite or missing is None."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or value is pd.NA:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return str(value)
