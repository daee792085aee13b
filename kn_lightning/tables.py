"""The outcome of a pack -> its rows of the tables of a run folder."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from kn_lightning.encoders.encoder import Encoder
from kn_lightning.outcome import Outcome
from kn_lightning.schema import TABLES


def outcome_tables(outcome: Outcome, encoder: Encoder) -> dict[str, pa.Table]:
    """All tables of a pack, the edits included; the outcome has to be whole."""
    assert outcome.edits is not None
    asked = {} if outcome.weight_edits is None else {"weight_edits": outcome.weight_edits}
    return {
        "prompts": _prompts(outcome, encoder),
        "completeness": _completeness(outcome),
        "coarse": _coarse(outcome),
        "neurons": _neurons(outcome),
        "edits": outcome.edits,
        **asked,
    }


def _prompts(outcome: Outcome, encoder: Encoder) -> pa.Table:
    attribution, prompts = outcome.attribution, outcome.prompts
    assert outcome.coarse is not None
    words = {i: encoder.token(i) for i in set(attribution.argmax.tolist())}
    return pa.table(
        {
            "prompt_id": [p.prompt_id for p in prompts],
            "concept": [p.concept for p in prompts],
            "prompt": [p.text for p in prompts],
            "relation": [p.relation for p in prompts],
            "pos": [group.pos for group in outcome.pack.groups for _ in group.prompts],
            "n_tokens": [len(p.input_ids) for p in prompts],
            "probability": attribution.probability.numpy().astype(np.float32),
            "rank": attribution.rank.numpy(),
            "argmax": [words[i] for i in attribution.argmax.tolist()],
            "max_score": attribution.scores.amax((1, 2)).numpy().astype(np.float32),
            "n_coarse": outcome.coarse.prompt.bincount(minlength=len(prompts)).numpy(),
            "evaluations": attribution.evaluations.sum(1).numpy(),
        },
        schema=TABLES["prompts"],
    )


def _completeness(outcome: Outcome) -> pa.Table:
    total, residual = outcome.attribution.total, outcome.attribution.residual
    n_layers = total.shape[1]
    return pa.table(
        {
            "prompt_id": [p.prompt_id for p in outcome.prompts for _ in range(n_layers)],
            "layer": np.tile(np.arange(n_layers), len(total)),
            "total": total.flatten().numpy().astype(np.float32),
            "residual": residual.flatten().numpy().astype(np.float32),
        },
        schema=TABLES["completeness"],
    )


def _coarse(outcome: Outcome) -> pa.Table:
    coarse, prompts = outcome.coarse, outcome.prompts
    assert coarse is not None
    return pa.table(
        {
            "prompt_id": [prompts[i].prompt_id for i in coarse.prompt.tolist()],
            "layer": coarse.layer.numpy(),
            "neuron": coarse.neuron.numpy(),
            "score": coarse.score.numpy().astype(np.float32),
        },
        schema=TABLES["coarse"],
    )


def _neurons(outcome: Outcome) -> pa.Table:
    pairs = list(zip(outcome.pack.groups, outcome.refined, strict=True))
    columns = [
        np.concatenate([part.numpy() for part in parts])
        for parts in zip(*(refined for _, refined in pairs), strict=True)
    ]
    layer, neuron, share, score = columns
    return pa.table(
        {
            "concept": [group.concept for group, refined in pairs for _ in refined.layer],
            "layer": layer,
            "neuron": neuron,
            "share": share.astype(np.float32),
            "score": score.astype(np.float32),
        },
        schema=TABLES["neurons"],
    )
