"""Rows planted by hand → run folders whose every number can be computed on paper."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kn_lightning.report.changes import measured_changes
from kn_lightning.report.summary import summary
from kn_lightning.report.tables import run_tables
from kn_lightning.schema import OPTIONAL_TABLES, SKIPPED_TABLE, TABLES

SCRIPT = "<script>alert(1)</script>"
"""A concept that must never reach a page unescaped."""

Rows = list[dict[str, Any]]
WriteRun = Callable[..., Path]

ENVIRONMENT: dict[str, Any] = {
    "schema_version": 1,
    "versions": {"kn_lightning": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
    "platform": "Linux-6.1-x86_64",
    "device": "cpu",
    "devices": 1,
    "precision": "32-true",
    "encoder": {
        "id": "tiny",
        "revision": None,
        "model_type": "bert",
        "n_layers": 4,
        "n_neurons": 512,
        "hidden_size": 128,
        "vocabulary": 2100,
        "parameters": 1100000,
        "weights_sha256": "ab" * 32,
    },
    "data": {"class": "EmbeddedPrompts", "sha256": "cd" * 32, "groups": 5, "prompts": 8},
    "study": {
        "rule": "adaptive",
        "nodes": None,
        "tolerance": 0.01,
        "path": "layer",
        "threshold": 0.2,
        "share": 0.5,
        "inclusive": True,
        "factors": [0.0, 2.0],
        "unrelated": "london",
        "others": 8,
        "control_seeds": 2,
        "seed": 0,
    },
    "seconds": {"total": 63.0, "attribution": 41.0},
}


def prompt_row(
    prompt_id: str, concept: str, probability: float = 0.5, **values: Any
) -> dict[str, Any]:
    """A row of ``prompts``."""
    row = {
        "prompt_id": prompt_id,
        "concept": concept,
        "prompt": f"[MASK] is {prompt_id}.",
        "relation": None,
    }
    row |= {"pos": None, "n_tokens": 6, "probability": probability, "rank": 1, "argmax": concept}
    row |= {"max_score": 0.1, "n_coarse": 3, "evaluations": 16}
    return row | {"similarity": None, "similarity_between": None} | values


def agreement_row(prompt_id: str, attribution: str, **values: Any) -> dict[str, Any]:
    """A row of ``agreement``."""
    row = {"prompt_id": prompt_id, "attribution": attribution, "spearman": 0.5}
    row |= {"n_candidates": 90, "spearman_candidates": 0.25, "overlap_10": 0.6}
    return row | {"overlap_coarse": 0.7} | values


def edit_row(
    concept: str, prompt_id: str, edit: str, before: float, after: float, **values: Any
) -> dict[str, Any]:
    """A row of ``edits``; own prompts and knowledge neurons unless told otherwise."""
    row = {"concept": concept, "prompt_id": prompt_id, "prompt_kind": "related", "edit": edit}
    row |= {
        "neurons": "knowledge",
        "n_neurons": 2,
        "probability_before": before,
        "probability_after": after,
    }
    row |= {
        "log_odds_before": 0.0,
        "log_odds_after": 10 * (after - before),
        "rank_before": 1,
        "rank_after": 1,
    }
    return row | {"argmax_before": "a", "argmax_after": "a"} | values


def weight_row(
    concept: str, prompt_id: str, edit: str, before: float, after: float, **values: Any
) -> dict[str, Any]:
    """A row of ``weight_edits``; prompts refined on and knowledge neurons unless told otherwise."""
    new = ("target_probability_before", "target_probability_after")
    new += ("target_rank_before", "target_rank_after", "target")
    row = edit_row(concept, prompt_id, edit, before, after)
    return row | dict.fromkeys(new) | values


def value_row(
    concept: str, layer: int, neuron: int, rank: int, neurons: str = "knowledge", **values: Any
) -> dict[str, Any]:
    """A row of ``values``."""
    row = {"concept": concept, "neurons": neurons, "layer": layer, "neuron": neuron, "rank": rank}
    row |= {"activation": 1.0, "answer": concept, "promoted": ["a", "b"], "demoted": ["y", "z"]}
    return row | {"prompts": [f"{concept}/0"], "activations": [2.0]} | values


def planted_edits() -> Rows:
    """Relative changes planted by hand.

    own, suppress: cat -0.5 (0.6 -> 0.3 over two prompts), dog -0.25, script +0.5 (out of range);
    own, amplify: cat +1.0, dog +19 (out of range), script 0;
    random neurons, suppress: cat -0.1 and +0.3 (mean +0.1), dog -0.2 and 0 (mean -0.1).
    "bare" has no neurons and rows that must not count.
    """
    edits = [
        edit_row("cat", "cat/0", "suppress", 0.8, 0.5, argmax_after="b"),
        edit_row("cat", "cat/1", "suppress", 0.4, 0.1),
        edit_row("dog", "dog/0", "suppress", 0.04, 0.03),
        edit_row(SCRIPT, "script/0", "suppress", 0.2, 0.3),
        edit_row("cat", "cat/0", "amplify", 0.8, 1.6),
        edit_row("cat", "cat/1", "amplify", 0.4, 0.8),
        edit_row("dog", "dog/0", "amplify", 0.04, 0.8),
        edit_row(SCRIPT, "script/0", "amplify", 0.2, 0.2),
        edit_row("bare", "bare/0", "suppress", 0.5, 0.5, n_neurons=0),
        edit_row("bare", "bare/0", "suppress", 0.5, 0.5, n_neurons=0, neurons="random:0"),
    ]
    for seed, (cat, dog) in enumerate([(0.9, 0.8), (1.3, 1.0)]):
        control = {"neurons": f"random:{seed}"}
        edits += [
            edit_row("cat", "cat/0", "suppress", 0.8, 0.8 * cat, **control),
            edit_row("cat", "cat/1", "suppress", 0.4, 0.4 * cat, **control),
            edit_row("dog", "dog/0", "suppress", 0.04, 0.04 * dog, **control),
        ]
    for concept in ("cat", "dog", SCRIPT):
        for edit in ("suppress", "amplify"):
            edits.append(edit_row(concept, "london/0", edit, 0.5, 0.45, prompt_kind="unrelated"))
    edits.append(edit_row("cat", "dog/0", "suppress", 0.04, 0.05, prompt_kind="other"))
    edits.append(edit_row("dog", "cat/0", "suppress", 0.0, 0.1, prompt_kind="other"))
    return edits


def planted_tables() -> dict[str, Rows]:
    """Five concepts, four with prompts that count in all tables; see ``planted_edits``."""
    return {
        "prompts": [
            prompt_row("cat/0", "cat", 0.8, relation="IsA", pos="noun", rank=1),
            prompt_row("cat/1", "cat", 0.4, relation=None, pos="noun", rank=2),
            prompt_row("dog/0", "dog", 0.04, relation="IsA", pos="noun", rank=11, evaluations=32),
            prompt_row("script/0", SCRIPT, 0.2, relation="a|b", pos=None, rank=10),
            prompt_row("bare/0", "bare", 0.5, relation=None, pos="verb", rank=1),
        ],
        "completeness": [
            {"prompt_id": "cat/0", "layer": layer, "total": total, "residual": residual}
            for layer, (total, residual) in enumerate(
                [(0.5, 0.001), (-1.0, -0.02), (0.1, 0.0), (0.0, 0.004)]
            )
        ]
        + [{"prompt_id": "dog/0", "layer": 0, "total": 0.0, "residual": 0.0}],
        "coarse": [{"prompt_id": "cat/0", "layer": 0, "neuron": 1, "score": 0.5}],
        "neurons": [
            {"concept": concept, "layer": layer, "neuron": neuron, "share": 1.0, "score": score}
            for concept, layer, neuron, score in [
                ("cat", 3, 7, 0.5),
                ("cat", 3, 8, 0.4),
                ("cat", 1, 7, 0.3),
                ("dog", 3, 7, 0.6),
                (SCRIPT, 3, 7, 0.1),
            ]
        ],
        "edits": planted_edits(),
        "skipped": [
            {"concept": "new york", "prompt": None, "reason": "not one token"},
            {"concept": "cat", "prompt": "a cat.", "reason": "no [MASK]"},
            {"concept": "dog", "prompt": "a dog.", "reason": "no [MASK]"},
        ],
    }


def studied_tables(pos_difference: float, n_each: int = 30, seed: int = 0) -> dict[str, Rows]:
    """Three nouns for a verb, an adjective or an adverb each, of two prompts and one neuron.

    Suppression lowers nouns to 0.4 of their probability or somewhat beside, the others to
    ``pos_difference`` more; random neurons move neither.
    """
    rng = np.random.default_rng(seed)
    parts = ["noun"] * 3 * n_each + [
        part for part in ("verb", "adjective", "adverb") for _ in range(n_each)
    ]
    tables: dict[str, Rows] = {name: [] for name in [*TABLES, "skipped"]}
    for number, part in enumerate(parts):
        concept = f"{part}{number}"
        after = rng.normal(0.4 + pos_difference * (part != "noun"), 0.2)
        neuron = {"layer": number % 4, "neuron": number}
        tables["neurons"].append({"concept": concept, **neuron, "share": 1.0, "score": 0.1})
        for prompt_id in (f"{concept}/0", f"{concept}/1"):
            before = rng.uniform(0.2, 0.8)
            tables["prompts"].append(prompt_row(prompt_id, concept, before, pos=part))
            tables["coarse"].append({"prompt_id": prompt_id, **neuron, "score": 0.1})
            for source, share in (("knowledge", after), ("random:0", rng.normal(1, 0.05))):
                row = edit_row(concept, prompt_id, "suppress", before, before * share)
                tables["edits"].append(row | {"neurons": source})
    return tables


def write_run(folder: Path, tables: dict[str, Rows], environment: dict[str, Any]) -> Path:
    """Write a run folder as ``analyze.py`` does."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in {**TABLES, **OPTIONAL_TABLES, "skipped": SKIPPED_TABLE}.items():
        if name in OPTIONAL_TABLES and name not in tables:
            continue
        pq.write_table(
            pa.Table.from_pylist(tables[name], schema=schema), folder / f"{name}.parquet"
        )
    (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    (folder / "config.yaml").write_text("seed_everything: 0\n", encoding="utf-8")
    return folder


def numbers_of(run_dir: Path) -> dict[str, Any]:
    """The summary of a run folder."""
    frames = run_tables(run_dir)
    return summary(frames, measured_changes(frames.edits, frames.neurons))


def plain(text: str) -> str:
    """A sentence without the spaces that hold a number and its sign together."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


def near(value: float) -> Any:
    """Equal but for the float32 of the tables."""
    return pytest.approx(value, rel=1e-5, abs=1e-6)
