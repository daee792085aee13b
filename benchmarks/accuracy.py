"""How far scores are from those of 64 nodes, and how many nodes a rule needs to come as near."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kn_lightning.attribution import AttributionSettings
from kn_lightning.schema import Attribution

TRUTH = AttributionSettings("gauss_legendre", 64)
THRESHOLD = 0.2
"""Of coarse neurons, a study's default."""
TRIED = {
    "linspace": (20, 40, 80, 160, 320),
    "gauss_legendre": (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40),
}
"""Nodes of the package's rule and of captum's."""


def accuracy(result: Attribution, truth: Attribution) -> dict[str, float]:
    """Relative L2 errors of prompts' scores; share of prompts with the very same coarse neurons."""
    error = (result.scores - truth.scores).flatten(1).norm(dim=1)
    error = (error / truth.scores.flatten(1).norm(dim=1)).double()
    ours, theirs = (r.scores > THRESHOLD * r.scores.amax((1, 2), True) for r in (result, truth))
    return {
        "error_median": float(error.median()),
        "error_p95": float(error.quantile(0.95)),
        "error_worst": float(error.max()),
        "same_coarse_neurons": float((ours == theirs).flatten(1).all(1).double().mean()),
    }


def fewest_nodes(error: Callable[[AttributionSettings], float], rule: str, target: float) -> int:
    """Nodes of a rule whose error first is at most ``target``.

    Where none of those tried is enough, the most that were tried.
    """
    tried = TRIED[rule]
    return next((n for n in tried if error(AttributionSettings(rule, n)) <= target), tried[-1])


def difference(theirs: Tensor, ours: Tensor) -> float:
    """Largest relative difference of two codes' results, which must be the same.

    Relative to the largest of them all.
    """
    found = float((theirs - ours).abs().max() / theirs.abs().max())
    if not torch.isfinite(theirs).all() or found >= 1e-3:
        raise AssertionError(f"two codes' results differ by {found:.2e} of the largest")
    return found
