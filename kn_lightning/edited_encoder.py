"""Knowledge neurons of a run -> its encoder with their weights edited, in a folder of its own.

The folder is what transformers saves, and what ``--model.encoder`` and ``from_pretrained`` read:
safetensors, config and tokenizer. ``weight_edits.json`` in it says what was edited.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kn_lightning.config_files import read_config
from kn_lightning.core.weights import LAMBDA_1, LAMBDA_2, UPDATE, WeightEdit, check_weight_edits
from kn_lightning.data.encoding import encode_prompt
from kn_lightning.data.new_answers import NewAnswer, new_answer
from kn_lightning.digests import check_tables
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.loading import load_encoder
from kn_lightning.encoders.weights import check_editable, weight_edit
from kn_lightning.errors import InputError, nearest
from kn_lightning.files import checked_path, named_errors
from kn_lightning.fingerprint import weights_sha256
from kn_lightning.own_files import check_not_of_a_run
from kn_lightning.report.environment import run_environment
from kn_lightning.report.tables import check_files, checked_table
from kn_lightning.schema import EncodedPrompt, Neuron, Prompt

RECORD = "weight_edits.json"
_TABLES = ("prompts", "neurons")


@dataclass(frozen=True)
class Request:
    """What is to be edited in the encoder of a run.

    Attributes:
        concepts: whose knowledge neurons, one after another: what a later one finds is what the
            earlier ones left.
        name: of the weight edit.
        new: of ``update``: a new answer for each concept; empty for those of the run's table.
        lambda_1: of ``update``.
        lambda_2: of ``update``.

    Raises:
        InputError: a name, number or list that makes no sense.
    """

    concepts: Sequence[str]
    name: str
    new: Sequence[str] = ()
    lambda_1: float = LAMBDA_1
    lambda_2: float = LAMBDA_2

    def __post_init__(self) -> None:
        check_weight_edits([self.name], self.lambda_1, self.lambda_2)
        if len(set(self.concepts)) != len(self.concepts):
            raise InputError(f"--concepts {' '.join(self.concepts)}: give each once")
        if self.new and self.name != UPDATE:
            raise InputError(f"--new {' '.join(self.new)}: only --weights {UPDATE} takes it")
        if self.new and len(self.new) != len(self.concepts):
            raise InputError(
                f"--new {' '.join(self.new)}: give one for each of {len(self.concepts)} concepts"
            )


def write_edited(run_dir: Path, folder: Path, request: Request, source: str | None = None) -> None:
    """Edit the encoder of a run and save it, whole or not at all.

    Args:
        run_dir: a finished run.
        folder: where the encoder goes; it must not be there yet, or be empty.
        request: what is edited.
        source: the run's encoder where it is now; None where it was for the run.

    Raises:
        InputError: no finished run, another encoder, a concept without neurons, or a place that
            can't be written.
    """
    checked_path("edit", folder)
    check_not_of_a_run("FOLDER", folder)
    config, environment, rows = _read(run_dir)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; give a new folder")
    neurons = {concept: _neurons(run_dir, rows, concept) for concept in request.concepts}
    model = config.get("model")
    source = source or (model.get("encoder") if isinstance(model, dict) else None)
    if not isinstance(source, str):
        raise InputError(
            f"{run_dir / 'config.yaml'}: no text for model.encoder; give the run's encoder with"
            " --model.encoder"
        )
    encoder = load_encoder(source)
    if weights_sha256(encoder.model) != environment["encoder"].get("weights_sha256"):
        raise InputError(
            f"{encoder.name} is not the encoder of {run_dir}: its weights are others;"
            " give the run's with --model.encoder"
        )
    check_editable(encoder, [request.name])
    answers = _new_answers(encoder, run_dir, rows["prompts"], request)
    edits = {concept: _edit(encoder, request, answers.get(concept)) for concept in neurons}
    record = {
        "run": run_dir.resolve().name,
        "encoder": environment["encoder"]["id"],
        "edit": request.name,
        "lambdas": [request.lambda_1, request.lambda_2] if answers else None,
        "concepts": {
            concept: {
                "target": answers[concept].concept if answers else None,
                "neurons": [list(neuron) for neuron in own],
            }
            for concept, own in neurons.items()
        },
    }
    with ExitStack() as edited:
        for concept, own in neurons.items():
            edited.enter_context(encoder.weights_edited(own, edits[concept]))
        _save(encoder, folder.absolute(), record)


def _read(run_dir: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, list[Any]]]:
    """Settings and environment of a run, and rows of the tables that are needed."""
    names = ("config.yaml", "environment.json", *(f"{name}.parquet" for name in _TABLES))
    check_files(run_dir, names)
    config = read_config(run_dir / names[0])
    environment = run_environment(run_dir / names[1])
    check_tables(run_dir, environment, str(run_dir))
    tables = {name: checked_table(run_dir, name).to_pylist() for name in _TABLES}
    return config, environment, tables


def _neurons(run_dir: Path, rows: dict[str, list[Any]], concept: str) -> list[Neuron]:
    own = [
        Neuron(row["layer"], row["neuron"]) for row in rows["neurons"] if row["concept"] == concept
    ]
    if own:
        return own
    concepts = {row["concept"] for row in rows["prompts"]}
    if concept in concepts:
        raise InputError(f"--concepts {concept}: it has no knowledge neurons in {run_dir}")
    raise InputError(
        f"--concepts {concept}: {run_dir} has no such concept{nearest(concept, concepts)}"
    )


def _new_answers(
    encoder: Encoder, run_dir: Path, rows: list[Any], request: Request
) -> dict[str, NewAnswer]:
    """By concept; none where the edit has none."""
    if request.name != UPDATE:
        return {}
    words = dict(zip(request.concepts, request.new, strict=True)) if request.new else {}
    table = run_dir / "weight_edits.parquet"
    if not words and table.is_file():
        rows_of_edits = checked_table(run_dir, "weight_edits", ["concept", "target"]).to_pylist()
        words = {row["concept"]: row["target"] for row in rows_of_edits if row["target"]}
    return {
        concept: _new_answer(encoder, run_dir, rows, concept, words.get(concept))
        for concept in request.concepts
    }


def _new_answer(
    encoder: Encoder, run_dir: Path, rows: list[Any], concept: str, word: str | None
) -> NewAnswer:
    encoded = [
        encode_prompt(encoder, Prompt(row["prompt"], row["relation"]), concept, row["prompt_id"])
        for row in rows
        if row["concept"] == concept
    ]
    prompts = [prompt for prompt in encoded if isinstance(prompt, EncodedPrompt)]
    if not prompts:
        raise InputError(
            f"--concepts {concept}: its answer is of several tokens, which have no one embedding to"
            f" take away; give --weights erase_zero or erase_unk, or leave {concept!r} out"
        )
    if word is None:
        raise InputError(
            f"--weights {UPDATE}: {run_dir} has no new answer for {concept!r}; give one with --new"
        )
    answer = new_answer(encoder, prompts, word)
    if answer is None or answer.new == answer.old:
        raise InputError(
            f"--new {word}: in the prompts of {concept!r} it is no other single token of the"
            " vocabulary"
        )
    return answer


def _edit(encoder: Encoder, request: Request, answer: NewAnswer | None) -> WeightEdit:
    if answer is None:
        return weight_edit(encoder, request.name)
    lambdas = (request.lambda_1, request.lambda_2)
    return weight_edit(encoder, request.name, answer.old, answer.new, *lambdas)


def _save(encoder: Encoder, folder: Path, record: dict[str, Any]) -> None:
    """Everything below a temporary name first, and then in one step to its place."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with named_errors(folder):
            encoder.model.save_pretrained(temporary)
            encoder.tokenizer.save_pretrained(temporary)
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        (temporary / RECORD).write_text(text, encoding="utf-8")
        if folder.exists():
            folder.rmdir()  # an empty one, onto which not every system renames
        temporary.rename(folder)
    except OSError as error:
        said = error.strerror or error.__cause__
        raise InputError(f"{folder}: {said}; give another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
