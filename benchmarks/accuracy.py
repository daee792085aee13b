"""How far scores are from those of 64 nodes, and how many nodes a rule needs to come as near."""

from __future__ import annotations

import torch
from torch import Tensor

from kn_lightning.attribution import AttributionSettings, attribute_encoded
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import Attribution, EncodedPrompt

TRUTH = AttributionSettings("gauss_legendre", 64)
THRESHOLD = 0.2
"""Of coarse neurons, a study's default."""
TRIED = {
    "linspace": (20, 40, 80, 160, 320),
    "gauss_legendre": (2, 3, 4, 5, 6, 8, 10, 12, 16, 20),
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


def fewest_nodes(
    encoder: Encoder,
    prompts: list[EncodedPrompt],
    truth: Attribution,
    rule: str,
    target: float,
) -> tuple[int, float]:
    """Nodes of a rule, and its p95 error, where that first is at most ``target``.

    Where none of those tried is enough, the most that were tried, with the error that is left.
    """
    nodes, error = 0, float("inf")
    for nodes in TRIED[rule]:
        result = attribute_encoded(encoder, prompts, AttributionSettings(rule, nodes))
        error = accuracy(result, truth)["error_p95"]
        if error <= target:
            break
    return nodes, error


def difference(theirs: Tensor, ours: Tensor) -> float:
    """Largest relative difference of two codes' results, which must be the same.

    Relative to the largest of them all.
    """
    found = float((theirs - ours).abs().max() / theirs.abs().max())
    if not torch.isfinite(theirs).all() or found >= 1e-3:
        raise AssertionError(f"two codes' results differ by {found:.2e} of the largest")
    return found
