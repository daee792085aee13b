"""A run folder with everything that a report can show, drawn with a fixed seed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from kn_lightning.schema import OPTIONAL_TABLES, TABLES

from .runs import ENVIRONMENT, Rows, agreement_row, edit_row, prompt_row, value_row, weight_row

PARTS = {"noun": 30, "verb": 12, "adjective": 8, "adverb": 8, "other": 4, None: 3}
"""Concepts of each part of speech."""
FACTORS = {"suppress": 0.0, "amplify": 2.0, "factor:0.5": 0.5, "factor:5": 5.0, "factor:-1": -1.0}
KINDS = {
    # neurons, kind of prompts: how far they move, own being 1
    ("knowledge", "related"): 1.0,
    ("knowledge", "other"): 0.1,
    ("knowledge", "unrelated"): 0.02,
    ("knowledge", "negated"): 0.7,
    ("random:0", "related"): 0.05,
    ("random:1", "related"): 0.04,
    ("activation", "related"): 0.5,
    ("foreign", "related"): 0.08,
}
WEIGHTS = {"erase_zero": 0.5, "erase_unk": 0.9, "update": 1.0}
"""How much of the answer's probability a weight edit takes."""
TOP = (1, 5, 10)
"""Numbers of best neurons that are suppressed."""
N_PROMPTS = 4
COMPARED = {"activation": 0.1, "gradient_activation": 0.6, "ablation": 0.8}
"""Compared attributions, and how far they agree."""
_N_LAYERS, _N_NEURONS = 12, 64


def rich_tables() -> dict[str, Rows]:
    """65 concepts of all parts of speech, every kind of neurons and prompts, five factors."""
    draw, weight_draw = np.random.default_rng(0), np.random.default_rng(1)
    tables: dict[str, Rows] = {name: [] for name in (*TABLES, *OPTIONAL_TABLES, "skipped")}
    parts = [part for part, n in PARTS.items() for _ in range(n)]
    for number, part in enumerate(parts):
        concept = f"concept{number:02}"
        prompts = [f"{concept}/{place}" for place in range(N_PROMPTS)]
        alike = {"similarity": 0.5 + number / 200, "similarity_between": 0.1 + number / 900}
        tables["prompts"] += [
            prompt_row(
                prompt, concept, 0.4, relation=("IsA", "HasA")[number % 2], pos=part, **alike
            )
            for prompt in prompts
        ]
        # The first two concepts have no knowledge neurons; neuron 0 of the last layer serves all.
        own = [(_N_LAYERS - 1, 0), *_places(draw, draw.integers(1, 9))] if number > 1 else []
        tables["neurons"] += [
            {"concept": concept, "layer": layer, "neuron": neuron, "share": 0.75, "score": 0.1}
            for layer, neuron in sorted(set(own))
        ]
        tables["values"] += _values(np.random.default_rng(number), concept, sorted(set(own)))
        for prompt in prompts:
            coarse = {*own, *_places(draw, draw.integers(1, 12))}
            tables["coarse"] += [
                {"prompt_id": prompt, "layer": layer, "neuron": neuron, "score": 0.1}
                for layer, neuron in sorted(coarse)
            ]
            tables["completeness"] += [
                {
                    "prompt_id": prompt,
                    "layer": layer,
                    "total": 0.2,
                    "residual": 0.2 * 10 ** draw.uniform(-6, -1.5),
                }
                for layer in range(_N_LAYERS)
            ]
        tables["agreement"] += _agreement(np.random.default_rng(number), prompts)
        strength = draw.uniform(0.2, 0.8) * (1.5 if part == "noun" else 0.6)
        tables["edits"] += _edits(draw, concept, prompts, strength)
        tables["edits"] += _top(np.random.default_rng(number), concept, prompts)
        tables["weight_edits"] += _weight_edits(weight_draw, concept, prompts)
    tables["skipped"] = [
        {"concept": "new york", "prompt": None, "reason": "not one token"},
        {"concept": "cat", "prompt": "a cat.", "reason": "no [MASK]"},
    ]
    return tables


def rich_environment() -> dict[str, Any]:
    """Its environment: the encoder whose neurons the paper's authors counted."""
    environment = copy.deepcopy(ENVIRONMENT)
    environment["encoder"] |= {"id": "bert-base-uncased", "n_layers": _N_LAYERS}
    environment["study"] |= {"holdout": 0.0, "factors": list(FACTORS.values())}
    environment["study"] |= {"weights": list(WEIGHTS), "lambda_1": 1.0, "lambda_2": 8.0}
    environment["study"] |= {"compare": list(COMPARED), "values": 2, "top": list(TOP)}
    return environment


def _agreement(draw: np.random.Generator, prompts: list[str]) -> Rows:
    """Ablation agrees most, and has no correlation over all neurons."""
    rows = []
    for name, part in COMPARED.items():
        for prompt in prompts:
            ten, coarse = draw.binomial(10, part, 2) / 10
            values = {"overlap_10": ten, "overlap_coarse": coarse}
            values["spearman_candidates"] = part - draw.uniform(0, 0.5)
            values["spearman"] = None if name == "ablation" else part
            rows.append(agreement_row(prompt, name, **values))
    return rows


def _values(draw: np.random.Generator, concept: str, own: list[tuple[int, int]]) -> Rows:
    """Concepts stand the higher, the higher the layer; random neurons promote by chance."""
    ranks = [1 + int(2000 ** draw.uniform(0, 1 - layer / _N_LAYERS)) for layer, _ in own]
    rows = [value_row(concept, *place, rank) for place, rank in zip(own, ranks, strict=True)]
    for source in ("random:0", "random:1"):
        for layer, _ in own:
            rank = int(draw.integers(1, 2101))
            rows.append(value_row(concept, layer, int(draw.integers(64)), rank, source))
    return rows


def _places(draw: np.random.Generator, n: int | np.integer) -> list[tuple[int, int]]:
    """Places of neurons, most of them in the upper layers."""
    layers = (_N_LAYERS * np.sqrt(draw.uniform(size=n))).astype(int).tolist()
    return list(zip(layers, draw.integers(1, _N_NEURONS, n).tolist(), strict=True))


def _edits(draw: np.random.Generator, concept: str, prompts: list[str], strength: float) -> Rows:
    rows = []
    for edit, factor in FACTORS.items():
        for (neurons, kind), part in KINDS.items():
            for prompt in prompts:
                logit = (factor - 1) * strength * part + draw.normal(0, 0.1)
                after = 1 / (1 + np.exp(-logit) * 1.5)  # 0.4 where nothing moves
                rows.append(
                    edit_row(concept, prompt, edit, 0.4, after, neurons=neurons, prompt_kind=kind)
                )
    return rows


def _top(draw: np.random.Generator, concept: str, prompts: list[str]) -> Rows:
    """The best neurons take the more, the more they are; random ones next to nothing."""
    rows = []
    for k in TOP:
        for neurons, felt in (
            (f"top:{k}", k / 12),
            *((f"top_random:{k}:{i}", 0.0) for i in (0, 1)),
        ):
            for prompt in prompts:
                after = 0.4 * (1 - felt) * draw.uniform(0.9, 1.1)
                row = edit_row(concept, prompt, "suppress", 0.4, after)
                rows.append(row | {"neurons": neurons, "n_neurons": k})
    return rows


def _weight_edits(draw: np.random.Generator, concept: str, prompts: list[str]) -> Rows:
    rows = []
    kinds = ("related", "held_out", "unrelated", "other")
    for edit, part in WEIGHTS.items():
        for neurons, share in (("knowledge", 1.0), ("random:0", 0.02), ("random:1", 0.05)):
            for kind, felt in zip(kinds, (1.0, 0.9, 0.01, 0.1), strict=True):
                for prompt in prompts:
                    lost = part * share * felt * draw.uniform(0.6, 1)
                    row = weight_row(concept, prompt, edit, 0.4, 0.4 * (1 - lost))
                    row |= {"neurons": neurons, "prompt_kind": kind}
                    if lost > 0.5:
                        row |= {"rank_after": 2, "argmax_after": "b"}
                    if edit == "update":
                        row |= {"target": "new", "target_probability_before": 0.01}
                        row |= {"target_probability_after": max(0.01, lost - 0.1)}
                        row |= {"target_rank_before": 9, "target_rank_after": 1 + (lost < 0.7)}
                    rows.append(row)
    return rows
