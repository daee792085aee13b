"""Neurons as EleutherAI's knowledge-neurons writes them -> checked pairs, and back again.

Its ``pararel_evaluate.py`` keeps the refined neurons of each fact, by the fact's uuid, as JSON::

    {"48a2b323-a09c-4af3-ae3f-8df5a80a68a5": [[10, 188], [10, 296]], …}

each neuron a layer, from 0, and its number in the layer. Keys are concepts here; a second file of
its, ``pararel_expanded.json``, says what a uuid's concept is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kn_lightning.data.jsonl import named_once
from kn_lightning.digests import check_tables
from kn_lightning.errors import InputError
from kn_lightning.files import check_whole, checked_path, write_whole
from kn_lightning.own_files import check_not_of_a_run
from kn_lightning.schema import Neuron

Neurons = dict[str, list[Neuron]]
"""By concept; in order of layer and neuron, none twice."""


def read_neurons(path: Path, facts: Path | None = None) -> Neurons:
    """The neurons of a file.

    Args:
        path: JSON; a key is a concept, its value pairs of layer and neuron.
        facts: where keys are uuids: the file that names their answers, ``obj_label``. A concept
            that is the answer of several facts has the neurons of all of them.

    Raises:
        InputError: a file is no such JSON, or a uuid is not among the facts.
    """
    concepts = None if facts is None else _concepts(facts)
    found: dict[str, set[Neuron]] = {}
    for key, pairs in _object(path, "refine.neurons").items():
        if concepts is not None and key not in concepts:
            raise InputError(f"refine.neurons {path}: {key!r:.60} is none of the facts in {facts}")
        concept = key if concepts is None else concepts[key]
        found.setdefault(concept, set()).update(_checked(path, key, pairs))
    return {concept: sorted(neurons) for concept, neurons in found.items()}


def check_neurons(neurons: Neurons, concepts: Iterable[str], n_layers: int, n_neurons: int) -> None:
    """Whether all these concepts have neurons, and the encoder has these; others don't matter.

    Raises:
        InputError: a concept is missing, or a neuron is none of the encoder's.
    """
    for concept in concepts:
        if concept not in neurons:
            raise InputError(
                f"refine.neurons has no {concept!r:.60}; give it a list ([] for none),"
                " or choose the concepts that it has with --data.concepts"
            )
        for layer, neuron in neurons[concept]:
            if layer >= n_layers or neuron >= n_neurons:
                raise InputError(
                    f"refine.neurons: {concept!r:.60}: [{layer}, {neuron}]: the encoder's layers"
                    f" are 0 to {n_layers - 1}, their neurons 0 to {n_neurons - 1}; was it"
                    " another's?"
                )


def write_neurons(run_dir: Path, path: Path) -> None:
    """Write a run's knowledge neurons to a file; concepts without any have an empty list.

    Raises:
        InputError: the folder is no finished run, a table of it is damaged, or the file can't be
            written.
    """
    if checked_path("neurons", path).is_dir():
        raise InputError(f"{path} is a folder; give a file, such as {path / 'neurons.json'}")
    check_not_of_a_run("FILE", path)
    # Here: a study doesn't need the libraries of the report.
    from kn_lightning.report.tables import check_files, checked_table

    check_files(run_dir, ("prompts.parquet", "neurons.parquet"))
    record = run_dir / "environment.json"
    if record.is_file():
        check_tables(run_dir, _object(record, "RUN_DIR"), str(run_dir))
    prompts = checked_table(run_dir, "prompts", ["concept"])
    neurons = checked_table(run_dir, "neurons", ["concept", "layer", "neuron"])
    pairs: dict[str, list[list[int]]] = {c: [] for c in prompts["concept"].to_pylist()}
    for row in neurons.to_pylist():
        pairs.setdefault(row["concept"], []).append([row["layer"], row["neuron"]])
    try:
        write_whole(path, json.dumps(pairs, indent=4, ensure_ascii=False))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a file that can be written") from error


def _object(path: Path, flag: str) -> dict[str, Any]:
    checked_path(flag, path)
    check_whole(flag, path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=named_once)
    except OSError as error:
        raise InputError(f"{flag} {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{flag} {path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{flag} {path}: {type(content).__name__} instead of a JSON object")
    return content


def _concepts(facts: Path) -> dict[str, str]:
    concepts: dict[str, str] = {}
    for uuid, fact in _object(facts, "refine.facts").items():
        label = fact.get("obj_label") if isinstance(fact, dict) else None
        if not isinstance(label, str):
            raise InputError(f'refine.facts {facts}: {uuid!r:.60} has no text "obj_label"')
        concepts[uuid] = label
    return concepts


def _checked(path: Path, key: str, pairs: Any) -> list[Neuron]:
    if not isinstance(pairs, list):
        raise InputError(
            f"refine.neurons {path}: {key!r:.60}: give a list of [layer, neuron] pairs"
        )
    for pair in pairs:
        # type(), not isinstance(): true and false are int.
        if not (
            isinstance(pair, list)
            and [type(number) for number in pair] == [int, int]
            and min(pair) >= 0
        ):
            raise InputError(
                f"refine.neurons {path}: {key!r:.60}: {json.dumps(pair):.60} is no pair of layer"
                " and neuron, two whole numbers from 0"
            )
    return [Neuron(*pair) for pair in pairs]
