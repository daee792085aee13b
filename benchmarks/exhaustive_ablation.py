"""Integrated gradients beside the exact effect of ablating every neuron, one by one.

    python benchmarks/exhaustive_ablation.py [--encoder DIR --prompts FILE] [--concepts N]

A study's comparison with ablation ablates the best neurons by integrated gradients and by gradient
times activation alone (``--model.candidates``, 64 of each), so that a neuron that neither proposes
can't be among the best. Here all are ablated, of one prompt of each concept. A row has a measure's
median over concepts with its 95 % bootstrap interval, and its mean; beside it what the candidates
alone give for the same prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from setting import arguments, encoded_groups, evenly, keep, prompt_groups

from kn_lightning.attribution import attribute_encoded, compare_encoded, row_budget
from kn_lightning.command import run_command
from kn_lightning.core.agreement import TOP, agreement
from kn_lightning.core.comparison import Compared
from kn_lightning.core.neurons import coarse_neurons
from kn_lightning.core.registry import ABLATION, AttributionSettings
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.loading import load_encoder
from kn_lightning.report.statistics import median_interval
from kn_lightning.schema import EncodedPrompt, PromptGroup

THRESHOLD = 0.2
"""Of coarse neurons, as a study has it."""
OUTSIDE = "share of ablation's ten outside the candidates"
MEASURES = {
    "spearman": "Spearman, all neurons",
    "spearman_candidates": "Spearman, candidates",
    "overlap_10": "overlap at 10",
    "overlap_coarse": "overlap at as many as are coarse",
}

Values = npt.NDArray[np.float64]


def one_of_each(
    encoder: Encoder, groups: Sequence[PromptGroup], n_concepts: int
) -> list[EncodedPrompt]:
    """A prompt of each concept, of so many concepts evenly spread; wordings take turns."""
    encoded = encoded_groups(encoder, groups)
    prompts = [one.prompts[turn % len(one.prompts)] for turn, one in enumerate(encoded)]
    return evenly(prompts, n_concepts)


def measured(
    own: torch.Tensor, exact: torch.Tensor, candidates: Compared
) -> tuple[dict[str, Values], dict[str, Values]]:
    """Each measure by prompt: with all neurons ablated, and with the candidates alone.

    Args:
        own: ``[B, L, I]`` scores of integrated gradients.
        exact: ``[B, L, I]`` effects of ablation.
        candidates: the same of a study's comparison.
    """
    n_coarse = coarse_neurons(own, THRESHOLD).prompt.bincount(minlength=len(own)).tolist()
    scores, all_effects, effects, chosen = (
        part.flatten(1).numpy() for part in (own, exact, candidates.scores, candidates.candidates)
    )
    rows, limited = [], []
    for place, n in enumerate(n_coarse):
        few = chosen[place]
        everything = agreement(scores[place], all_effects[place], few, n)
        best = np.argsort(-all_effects[place], kind="stable")[:TOP]
        rows.append([*(getattr(everything, name) for name in MEASURES), 1 - few[best].mean()])
        some = agreement(scores[place], effects[place], few, n)
        limited.append([*(getattr(some, name) for name in MEASURES), np.nan])
    names = [*MEASURES.values(), OUTSIDE]
    return tuple(  # type: ignore[return-value]
        dict(zip(names, np.array(part, dtype=np.float64).T, strict=True))
        for part in (rows, limited)
    )


def table_rows(every: dict[str, Values], few: dict[str, Values]) -> list[dict[str, Any]]:
    """A row a measure; of concepts that have it."""
    rows = []
    for name, values in every.items():
        known, beside = values[np.isfinite(values)], few[name][np.isfinite(few[name])]
        low, high = median_interval(known) or (None, None)
        rows.append(
            {
                "measure": name,
                "concepts": len(known),
                "median": float(np.median(known)),
                "from": low,
                "to": high,
                "mean": float(known.mean()),
                "median_of_candidates": float(np.median(beside)) if len(beside) else None,
                "mean_of_candidates": float(beside.mean()) if len(beside) else None,
            }
        )
    return rows


def scored(
    encoder: Encoder, prompts: Sequence[EncodedPrompt]
) -> tuple[torch.Tensor, torch.Tensor, Compared]:
    """Integrated gradients, all effects of ablation, and those of the candidates of a study."""
    settings = AttributionSettings(compare=(ABLATION,))
    budget = row_budget(settings, encoder)
    own = attribute_encoded(encoder, prompts, settings, budget).scores
    candidates = compare_encoded(encoder, prompts, own, settings, budget)[ABLATION]
    every = AttributionSettings(attribution=ABLATION)
    return own, attribute_encoded(encoder, prompts, every, budget).scores, candidates


def main() -> None:
    """Ablate all neurons and keep the cell."""
    parser = arguments(__doc__)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--prompts", type=Path, help="LAMA's form or JSONL; the testbed's unless")
    parser.add_argument("--max_groups", type=int, help="the first so many concepts of the prompts")
    parser.add_argument("--concepts", type=int, default=400, help="of these so many, evenly spread")
    parser.add_argument("--cell", help="name of the result; default: the encoder's")
    options = parser.parse_args()
    encoder = load_encoder(options.encoder)
    count = 3 if options.quick else options.concepts
    groups = prompt_groups(options.prompts)[: options.max_groups]
    own, exact, candidates = scored(encoder, one_of_each(encoder, groups, count))
    # Only batches differ between the two ways of the same effects.
    difference = (exact - candidates.scores)[candidates.candidates].abs().max()
    every, few = measured(own, exact, candidates)
    outside = every[OUTSIDE]
    keep(
        "exhaustive_ablation",
        options.cell or Path(options.encoder).name,
        table_rows(every, few),
        options.quick,
        neurons_ablated=exact[0].numel(),
        prompts=len(own),
        prompts_with_any_outside=int((outside > 0).sum()),
        largest_difference=float(difference),
    )


if __name__ == "__main__":
    run_command(main)
