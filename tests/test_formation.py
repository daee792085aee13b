"""Checkpoints of a training in which the step of every concept's formation is known.

The hand-made encoder of ``test_planted.py`` whose planted neurons grow: their value vectors are
multiplied by what stands in ``GROWTH``, at each of four steps.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from callbacks.commands import command, write_jsonl
from test_planted import CUES, PLANTED, TEMPLATES, planted_encoder

from kn_lightning.checkpoint_steps import steps_of
from kn_lightning.encoders.loading import located
from kn_lightning.errors import InputError
from kn_lightning.formation import FormationSettings
from kn_lightning.formation_record import FormationRecord
from kn_lightning.formation_tables import compared, read_tables
from kn_lightning.schema import EncodedGroup

STEPS = [0, 10, 20, 1000]
GROWTH = {
    "kitten": [0, 0, 1, 1],
    "puppy": [0, 0, 0, 1],
    "lamb": [0, 0.4, 0.4, 1],  # enough for the largest scores, too little for the answer
    "calf": [1, 1, 1, 1],
    "foal": [1, 1, 1, 1],
    "cub": [1, 1, 1, 1],
}


def write_checkpoint(folder: Path, growth: dict[str, float]) -> str:
    torch.manual_seed(0)
    model, tokenizer = planted_encoder()
    with torch.no_grad():
        for concept, factor in growth.items():
            for layer, neuron in PLANTED[concept] if factor != 1 else ():
                out = model.bert.encoder.layer[layer].output.dense
                out.weight[:, neuron] *= factor
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four checkpoints and the prompts."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for place, name in enumerate(("step0", "step10", "step20", "step1k")):
        write_checkpoint(folder / name, {c: growth[place] for c, growth in GROWTH.items()})
    write_jsonl(
        folder / "groups.jsonl",
        *(
            {"concept": concept, "prompts": [text.format(cue) for text in TEMPLATES], "pos": "noun"}
            for concept, cue in CUES.items()
        ),
        {"concept": "qwertyuiop", "prompts": ["a [MASK] ."], "pos": "noun"},
    )
    return folder


NAMES = ("step0", "step10", "step20", "step1k")


def study(material: Path, folder: Path, *names: str) -> str:
    """A study of checkpoints, which has to end well; what it says."""
    data = ("--data", "JsonlPrompts", "--data.path", "groups.jsonl")
    done = command("analyze.py", "formation", folder, "--encoders", *names, *data, cwd=material)
    assert done.code == 0, done.err
    return done.out


@pytest.fixture(scope="module")
def folder(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record and the report of all four."""
    path = tmp_path_factory.mktemp("formation") / "record"
    assert f"report:  {path / 'report.html'}" in study(material, path, *NAMES)
    return path


@pytest.fixture(scope="module")
def numbers(folder: Path) -> dict[str, Any]:
    """The summary."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return summary


def test_planted_neurons_are_found_when_they_have_grown_and_not_before(folder: Path) -> None:
    _, neurons = read_tables(folder)
    rows = neurons[["step", "concept", "layer", "neuron"]]
    for concept, growth in GROWTH.items():
        own = rows[rows["concept"] == concept]
        for step, factor in zip(STEPS, growth, strict=True):
            found = own.loc[own["step"] == step, ["layer", "neuron"]]
            there = set(found.itertuples(index=False, name=None)) & PLANTED[concept]
            assert there == (PLANTED[concept] if factor else set()), (concept, step)


def test_concept_that_the_encoder_does_not_know_is_listed(
    folder: Path, numbers: dict[str, Any]
) -> None:
    rows = pq.read_table(folder / "skipped.parquet").to_pylist()
    assert [(row["concept"], row["prompt"]) for row in rows][-1] == ("qwertyuiop", None)
    assert numbers["left_out"]["concepts"] == ["qwertyuiop"]
    assert "qwertyuiop" in (folder / "report.md").read_text(encoding="utf-8")


def test_steps_of_rise_and_formation_are_those_of_the_planted_growth(
    folder: Path, numbers: dict[str, Any]
) -> None:
    concepts, _ = read_tables(folder)
    table = concepts.pivot(index="concept", columns="step", values="probability")
    risen = table.gt(table[1000] / 2, axis=0)
    assert risen.idxmax(axis=1).to_dict() == {
        **{"kitten": 20, "puppy": 1000, "lamb": 1000},
        **dict.fromkeys(("calf", "foal", "cub"), 0),
    }
    probability, neurons = (
        numbers["timing"]["all"]["first"][what] for what in ("probability", "neurons")
    )
    # 0, 0, 0, 20, 1000, 1000 and 0, 0, 0, 10, 20, 1000
    assert (probability["median"], neurons["median"]) == (10, 5)
    assert probability["n_left_censored"] == neurons["n_left_censored"] == 3
    assert (probability["n_at_last"], neurons["n_at_last"]) == (2, 1)
    assert neurons["up_to"] == [3 / 6, 4 / 6, 5 / 6, 1]
    order = numbers["order"]["first"]
    assert (order["n_dated"], order["n_both_left_censored"]) == (3, 3)
    assert (order["n_neurons_before"], order["n_same_step"], order["n_neurons_after"]) == (1, 2, 0)
    assert order["mean_difference"] == (10 - 1000) / 3
    assert order["test"] is None  # three concepts are too few


def test_record_says_what_was_measured(folder: Path) -> None:
    concepts, neurons = read_tables(folder)
    assert concepts["step"].tolist() == [step for step in STEPS for _ in CUES]
    assert concepts["concept"].tolist() == [*CUES] * 4
    assert concepts["checkpoint"].unique().tolist() == [*NAMES]
    last = concepts[concepts["step"] == 1000]
    assert (last["jaccard_with_last"] == 1).all()
    assert (last["rank"] == 1).all()
    assert (last["first"] == 1).all()
    sizes = neurons.groupby(["step", "concept"]).size()
    for row in concepts.itertuples():
        assert row.n_neurons == sizes.get((row.step, row.concept), 0)
    first = concepts[concepts["step"] == 0]
    assert first["jaccard_with_previous"].isna().all()
    kitten = concepts[concepts["concept"] == "kitten"].set_index("step")
    assert kitten.loc[1000, "jaccard_with_previous"] == kitten.loc[20, "jaccard_with_last"] == 1
    assert kitten.loc[20, "jaccard_with_previous"] == kitten.loc[10, "jaccard_with_last"] == 0


def test_study_goes_on_with_further_checkpoints_to_the_same_record(
    material: Path, folder: Path, tmp_path: Path
) -> None:
    study(material, tmp_path / "record", "step0", "step1k")
    study(material, tmp_path / "record", *NAMES)
    for one, other in zip(read_tables(tmp_path / "record"), read_tables(folder), strict=True):
        pd.testing.assert_frame_equal(one, other)
    page, again = (path / "report.md" for path in (folder, tmp_path / "record"))
    assert page.read_text() == again.read_text()


def test_tokenizer_that_reads_the_prompts_otherwise_is_refused(
    material: Path, tmp_path: Path
) -> None:
    model, tokenizer = planted_encoder()
    words = tokenizer.get_vocab()
    words["kitten"], words["table"] = words["table"], words["kitten"]
    model.save_pretrained(tmp_path / "step2k")
    type(tokenizer)(vocab=words, model_max_length=40).save_pretrained(tmp_path / "step2k")
    arguments = ("--encoders", "step0", tmp_path / "step2k")
    data = ("--data", "JsonlPrompts", "--data.path", "groups.jsonl")
    record = tmp_path / "record"
    done = command("analyze.py", "formation", record, *arguments, *data, cwd=material)
    assert done.code == 2
    assert "step2k: it differs from those before in prompts.sha256" in done.err
    concepts, _ = read_tables(record)  # what was measured before is whole
    assert concepts["step"].unique().tolist() == [0]


@pytest.mark.parametrize(
    ("names", "given", "steps"),
    [
        (["a/step100", "a/step20k"], None, [100, 20000]),
        (["google/multiberts@step_0", "google/multiberts@step_2000"], None, [0, 2000]),
        (["encoder@1a2b3c4d", "encoder@9f8e7d6c"], None, [0, 1]),  # hashes are no steps
        (["run1@9f8e7d6", "run2@1a2b3c4"], None, [1, 2]),
        (["step500k", "step1.5M"], None, [500_000, 1_500_000]),
        (["out/checkpoint-500/model", "out/checkpoint-900/model"], None, [500, 900]),
        (["early", "late"], None, [0, 1]),
        (["v2", "v1"], None, [0, 1]),  # no steps: they don't ascend
        (["early", "late"], [5, 7], [5, 7]),
    ],
)
def test_steps_are_read_off_the_names(
    names: list[str], given: list[int] | None, steps: list[int]
) -> None:
    assert [step.number for step in steps_of(names, given)] == steps


def test_revision_stands_behind_the_name_unless_a_folder_is_called_so(tmp_path: Path) -> None:
    assert located("google/multiberts@step_20k") == ("google/multiberts", "step_20k")
    assert located("bert-base-uncased") == ("bert-base-uncased", "main")
    (tmp_path / "a@b").mkdir()
    assert located(str(tmp_path / "a@b")) == (str(tmp_path / "a@b"), "main")


def test_followed_groups_are_spread_evenly_over_the_data() -> None:
    groups = [EncodedGroup(str(number), None, ()) for number in range(10)]
    chosen = FormationSettings(max_groups=3).chosen(groups)
    assert [group.concept for group in chosen] == ["0", "3", "6"]
    assert FormationSettings(max_groups=20).chosen(groups) == groups
    assert FormationSettings().chosen(groups) == groups


def test_jaccard_of_pencil_and_paper() -> None:
    steps = {
        0: {"a": {(0, 1), (0, 2), (1, 1)}, "b": {(0, 1)}, "c": set()},
        5: {"a": {(0, 2), (0, 1)}, "b": set(), "c": set()},
        9: {"a": {(0, 1), (2, 2)}, "b": {(1, 0)}, "c": set()},
    }
    concepts = pd.DataFrame(
        [{"step": step, "concept": name} for step, own in steps.items() for name in own]
    )
    neurons = pd.DataFrame(
        [
            {"step": step, "concept": name, "layer": layer, "neuron": neuron}
            for step, own in steps.items()
            for name, places in own.items()
            for layer, neuron in places
        ]
    )
    found = compared(concepts, neurons)
    nan = math.nan
    previous, last = found["jaccard_with_previous"], found["jaccard_with_last"]
    np.testing.assert_array_equal(previous, [nan, nan, nan, 2 / 3, 0, nan, 1 / 3, 0, nan])
    np.testing.assert_array_equal(last, [1 / 4, 0, nan, 1 / 3, 0, nan, 1, 1, nan])


def test_step_that_was_not_finished_is_not_read(folder: Path, tmp_path: Path) -> None:
    concepts, neurons = read_tables(folder)
    record = FormationRecord(tmp_path)
    record.begin({"a": 1}, {})
    early = [frame[frame["step"] < 1000] for frame in (concepts, neurons)]
    record.add(early[0].drop(columns=["jaccard_with_previous", "jaccard_with_last"]), early[1])
    rows = pa.Table.from_pandas(neurons, preserve_index=False)
    record._write("formation_neurons", rows)  # and killed before the other table
    assert read_tables(tmp_path)[1]["step"].max() == 20
    with pytest.raises(InputError, match="it differs in a;"):
        record.check({"a": 2}, go_on=True)
    record.check({"a": 1}, go_on=True)
