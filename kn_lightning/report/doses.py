"""The distributions by edit and kind → dose curves: how far each kind moves at every factor."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.changes import factor, kind_order

N_FACTORS = 3
"""Measured factors, besides 1, from which on they make a curve."""

_COPIED = ("n", "median", "median_ci", "p25", "p75", "mean")


def doses(changes: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The relative change of every kind at every factor, smallest first; empty without a curve.

    A factor of 1 is the unedited encoder: its changes are 0 by definition, measured or not.

    Args:
        changes: From ``effects.by_edit_and_kind``.
    """
    factors = {edit: by for edit in changes if (by := factor(edit)) not in (None, 1)}
    if len(factors) < N_FACTORS:
        return {}
    result = {}
    for kind in kind_order([kind for edit in factors for kind in changes[edit]]):
        curve = [
            {"factor": by} | {key: changes[edit][kind][key] for key in _COPIED}
            for edit, by in factors.items()
            if kind in changes[edit]
        ]
        unedited = {"factor": 1.0, "n": max(point["n"] for point in curve), "median": 0.0}
        unedited |= {"median_ci": [0.0, 0.0], "p25": 0.0, "p75": 0.0, "mean": 0.0}
        result[kind] = sorted([*curve, unedited], key=lambda point: point["factor"])
    return result
