"""The records of every stage and the tables of a run folder, one place for both.

Shape letters used throughout the package::

    B  prompts          L  layers (0-based)     I  neurons of a layer
    T  tokens           H  hidden size          V  vocabulary
    R  rows: prompts with one layer's neurons replaced, computed together
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA_VERSION = 1
NO_TOKEN = -1
"""Fills up the tokens of a prompt with fewer masks than others."""
INTEGRATED_GRADIENTS = "integrated_gradients"
"""The attribution of the method; others are there to be compared with it."""
MASK = "[MASK]"
"""Stands for any tokenizer's mask token in prompts."""


class Neuron(NamedTuple):
    """The ``neuron``-th input of the second linear map of the feed-forward block of ``layer``."""

    layer: int
    neuron: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """A sentence in which one ``[MASK]`` stands for the concept."""

    text: str
    relation: str | None = None


@dataclass(frozen=True, slots=True)
class PromptGroup:
    """All prompts whose answer is one concept, worded differently.

    ``negated`` are prompts that say the opposite ("[MASK] will not grow up to be a cat."), where
    the data has them: they are measured under edits, never attributed.
    """

    concept: str
    prompts: tuple[Prompt, ...]
    pos: str | None = None
    negated: tuple[Prompt, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was left out of a study and why.

    ``prompt`` is None where the whole concept was, and empty where a record had no sentence.
    """

    concept: str
    prompt: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the encoder reads it.

    ``input_ids`` carries the special tokens, ``mask_positions`` (ascending) index into it, and
    ``answers`` are the tokens of the concept at those places: one, or as many as it has.
    """

    prompt_id: str
    concept: str
    text: str
    relation: str | None
    input_ids: tuple[int, ...]
    mask_positions: tuple[int, ...]
    answers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """A prompt group as the encoder reads it."""

    concept: str
    pos: str | None
    prompts: tuple[EncodedPrompt, ...]
    negated: tuple[EncodedPrompt, ...] = ()


@dataclass(frozen=True, slots=True)
class Attribution:
    """What the answer's probability owes to the neurons at the mask, by any attribution.

    Where an answer has several masks, its probability is the product over them, and a neuron's
    score the sum over them: all grow together.

    Attributes:
        scores: ``[B, L, I]`` float32 (float64 of a float64 encoder, as all others), Attr of every
            neuron.
        total: ``[B, L]`` float32, P(w) - P(0 * w) for the layer: what its scores should add up to.
        residual: ``[B, L]`` float32, ``scores.sum(-1) - total``: of integrated gradients the error
            of completeness; others need not add up to anything.
        probability: ``[B]`` float32, P of the answer without intervention.
        evaluations: ``[B, L]`` int64, gradients of the probability that were computed, or neurons
            that were ablated.
        rank: ``[B]`` int64, 1 where the answer is the most probable token; of several tokens the
            worst.
        argmax: ``[B, M]`` int64, the most probable token at each mask, then :data:`NO_TOKEN`.
        log_odds: ``[B]`` float32, log P / (1 - P) of the answer.
        activations: ``[B, L, I]`` float32, the neurons themselves, w; of several masks the mean.
    """

    scores: Tensor
    total: Tensor
    residual: Tensor
    probability: Tensor
    evaluations: Tensor
    rank: Tensor
    argmax: Tensor
    log_odds: Tensor
    activations: Tensor


_STRING, _INT, _FLOAT = pa.string(), pa.int32(), pa.float32()
_CHANGE = {
    "probability_before": _FLOAT,
    "probability_after": _FLOAT,
    "log_odds_before": _FLOAT,
    "log_odds_after": _FLOAT,
    "rank_before": _INT,
    "rank_after": _INT,
    "argmax_before": _STRING,
    "argmax_after": _STRING,
}
"""What an edit does to an answer."""

TABLES: dict[str, pa.Schema] = {
    "prompts": pa.schema(
        {
            "prompt_id": _STRING,
            "concept": _STRING,
            "prompt": _STRING,
            "relation": _STRING,
            "pos": _STRING,
            "n_tokens": _INT,
            "probability": _FLOAT,
            "rank": _INT,
            "argmax": _STRING,
            "max_score": _FLOAT,
            "n_coarse": _INT,
            "evaluations": _INT,
            "similarity": _FLOAT,
            "similarity_between": _FLOAT,
        }
    ),
    "completeness": pa.schema(
        {"prompt_id": _STRING, "layer": _INT, "total": _FLOAT, "residual": _FLOAT}
    ),
    "coarse": pa.schema({"prompt_id": _STRING, "layer": _INT, "neuron": _INT, "score": _FLOAT}),
    "neurons": pa.schema(
        {"concept": _STRING, "layer": _INT, "neuron": _INT, "share": _FLOAT, "score": _FLOAT}
    ),
    "edits": pa.schema(
        {
            "concept": _STRING,
            "prompt_id": _STRING,
            "prompt_kind": _STRING,
            "edit": _STRING,
            "neurons": _STRING,
            "n_neurons": _INT,
            **_CHANGE,
        }
    ),
}
"""The Parquet files that grow with the study; the README says what a row is."""

ADDED_COLUMNS = ("similarity", "similarity_between")
"""Of ``prompts``: came after 0.1.0; a run folder that was begun before is read as if null."""

OPTIONAL_TABLES: dict[str, pa.Schema] = {
    "agreement": pa.schema(
        {
            "prompt_id": _STRING,
            "attribution": _STRING,
            "spearman": _FLOAT,
            "n_candidates": _INT,
            "spearman_candidates": _FLOAT,
            "overlap_10": _FLOAT,
            "overlap_coarse": _FLOAT,
        }
    ),
    "weight_edits": pa.schema(
        {
            "concept": _STRING,
            "prompt_id": _STRING,
            "prompt_kind": _STRING,
            "edit": _STRING,
            "neurons": _STRING,
            "n_neurons": _INT,
            "target": _STRING,
            **_CHANGE,
            "target_probability_before": _FLOAT,
            "target_probability_after": _FLOAT,
            "target_rank_before": _INT,
            "target_rank_after": _INT,
        }
    ),
    "values": pa.schema(
        {
            "concept": _STRING,
            "neurons": _STRING,
            "layer": _INT,
            "neuron": _INT,
            "activation": _FLOAT,
            "answer": _STRING,
            "rank": _INT,
            "promoted": pa.list_(_STRING),
            "demoted": pa.list_(_STRING),
            "prompts": pa.list_(_STRING),
            "activations": pa.list_(_FLOAT),
        }
    ),
}
"""Those that grow with the study only where a setting asks for them."""

ASKED_BY = {
    "agreement": "model.compare",
    "weight_edits": "edit.weights",
    "values": "refine.values",
}
"""The setting that asks for an optional table."""

SKIPPED_TABLE = pa.schema({"concept": _STRING, "prompt": _STRING, "reason": _STRING})
"""``skipped.parquet``: written once, before the first batch."""


def completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with nulls in those of the schema's :data:`ADDED_COLUMNS` that it lacks."""
    for name in ADDED_COLUMNS:
        if name in schema.names and name not in table.column_names:
            field = schema.field(name)
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table
