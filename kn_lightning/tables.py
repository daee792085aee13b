"""The outcome of a pack -> its rows of the tables of a run folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from kn_lightning.core.agreement import agreement
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.keys import KEYS
from kn_lightning.outcome import Outcome
from kn_lightning.schema import OPTIONAL_TABLES, TABLES, EncodedPrompt


def outcome_tables(outcome: Outcome, encoder: Encoder) -> dict[str, pa.Table]:
    """All tables of a pack that the study asks for; the outcome has to be whole."""
    assert outcome.edits is not None
    asked: dict[str, pa.Table] = {}
    if outcome.compared:
        asked["agreement"] = _agreement(outcome)
    if outcome.weight_edits is not None:
        asked["weight_edits"] = outcome.weight_edits
    if outcome.values is not None and outcome.keys is not None:
        asked |= {"values": outcome.values, KEYS: outcome.keys}
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
    assert outcome.similarity is not None
    sizes = [len(group.prompts) for group in outcome.pack.groups]
    # NaN is undefined: missing in the file.
    own, between = (
        pa.array(np.repeat(part.numpy(), sizes).astype(np.float32), from_pandas=True)
        for part in outcome.similarity
    )
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
            "argmax": guesses(encoder, prompts, attribution.argmax.tolist()),
            "max_score": attribution.scores.amax((1, 2)).numpy().astype(np.float32),
            "n_coarse": outcome.coarse.prompt.bincount(minlength=len(prompts)).numpy(),
            "evaluations": attribution.evaluations.sum(1).numpy(),
            "similarity": own,
            "similarity_between": between,
        },
        schema=TABLES["prompts"],
    )


def guesses(
    encoder: Encoder, prompts: Sequence[EncodedPrompt], argmax: Iterable[Sequence[int]]
) -> list[str]:
    """The most probable tokens of each prompt as text.

    Args:
        encoder: whose tokens they are.
        prompts: of the rows.
        argmax: of each row, a token for each of its masks; more where other prompts have more.
    """
    rows = [tuple(row[: len(prompt.answers)]) for prompt, row in zip(prompts, argmax, strict=True)]
    texts = {row: encoder.text(row) for row in set(rows)}
    return [texts[row] for row in rows]


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


def _agreement(outcome: Outcome) -> pa.Table:
    """One row a prompt and compared attribution, prompt after prompt."""
    assert outcome.coarse is not None
    own = outcome.attribution.scores.flatten(1).numpy()
    n_coarse = outcome.coarse.prompt.bincount(minlength=len(own)).tolist()
    sides = {
        name: [part.flatten(1).numpy() for part in compared]
        for name, compared in outcome.compared.items()
    }
    found = [
        {"prompt_id": prompt.prompt_id, "attribution": name}
        | agreement(own[row], scores[row], candidates[row], n_coarse[row])._asdict()
        for row, prompt in enumerate(outcome.prompts)
        for name, (scores, candidates) in sides.items()
    ]
    schema = OPTIONAL_TABLES["agreement"]
    columns = {name: [row[name] for row in found] for name in schema.names}
    # What is undefined is missing in the file, not a number called NaN.
    arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def check_finite(edits: pa.Table) -> None:
    """Raise InputError for the first edit under which an answer's probability has no value."""
    found = edits["probability_after"].to_numpy()
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        (row,) = edits.slice(int(bad[0]), 1).to_pylist()
        raise InputError(
            f"prompt {row['prompt_id']}: {row['edit']} of {row['n_neurons']} neurons"
            f" ({row['neurons']}) makes its answer's probability NaN; give smaller edit.factors,"
            " edit.lambda_1 or edit.lambda_2, or trainer.precision bf16-mixed or 32-true, and"
            " --overwrite true"
        )
