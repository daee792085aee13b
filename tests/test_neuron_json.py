"""Neurons as JSON: what is read, what is refused and in which words, and what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kn_lightning.errors import InputError
from kn_lightning.neuron_json import check_neurons, read_neurons, write_neurons
from kn_lightning.schema import TABLES, Neuron

UUIDS = ["48a2b323-a09c-4af3-ae3f-8df5a80a68a5", "aeda2aa7-f9e6-4c75-9faa-604cf0aae748", "0f917"]


def json_file(path: Path, content: Any) -> Path:
    """A file with this content; bytes as they are."""
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_neurons_are_read_in_order_and_none_twice(tmp_path: Path) -> None:
    # As pararel_evaluate.py writes them: in the order in which its prompts found them.
    file = json_file(tmp_path / "n.json", {"a": [[10, 188], [6, 1096], [10, 188], [6, 7]], "b": []})
    assert read_neurons(file) == {"a": [Neuron(6, 7), Neuron(6, 1096), Neuron(10, 188)], "b": []}


def test_facts_name_the_concepts_of_uuids_and_facts_of_one_concept_are_joined(
    tmp_path: Path,
) -> None:
    neurons = {UUIDS[0]: [[1, 2], [0, 3]], UUIDS[1]: [[5, 5]], UUIDS[2]: [[0, 3], [0, 1]]}
    labels = dict(zip(UUIDS, ("Paris", "Rome", "Paris"), strict=True)) | {"unused": "Oslo"}
    facts = {
        uuid: {"sentences": ["[MASK]."], "relation_name": "P36", "obj_label": label}
        for uuid, label in labels.items()
    }
    found = read_neurons(json_file(tmp_path / "n", neurons), json_file(tmp_path / "f", facts))
    assert found == {"Paris": [(0, 1), (0, 3), (1, 2)], "Rome": [(5, 5)]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": [', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ([["a", 1]], "list instead of a JSON object"),
        ({"a": {"0": 1}}, "'a': give a list of"),
        ({"a": [3, 4]}, "'a': 3 is no pair"),
        ({"a": [[1, 2], [1]]}, r"'a': \[1\] is no pair"),
        ({"a": [[1, 2, 3]]}, r"'a': \[1, 2, 3\] is no pair"),
        ({"a": [[1, 2.0]]}, r"'a': \[1, 2\.0\] is no pair"),
        ({"a": [[1, "2"]]}, r"'a': \[1, \"2\"\] is no pair"),
        ({"a": [[True, 2]]}, r"'a': \[true, 2\] is no pair"),
        ({"b": [[0, 0]], "a": [[1, -2]]}, r"'a': \[1, -2\] is no pair"),
    ],
)
def test_what_is_no_file_of_neurons_is_refused_with_the_entry(
    tmp_path: Path, content: Any, message: str
) -> None:
    file = json_file(tmp_path / "neurons.json", content)
    with pytest.raises(InputError, match=rf"refine\.neurons {file}: .*{message}"):
        read_neurons(file)


def test_missing_files_and_unknown_or_nameless_facts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"refine\.neurons .*none\.json: No such file"):
        read_neurons(tmp_path / "none.json")
    neurons = json_file(tmp_path / "n.json", {UUIDS[0]: [[0, 0]]})
    with pytest.raises(InputError, match=r"refine\.facts .*none\.json: No such file"):
        read_neurons(neurons, tmp_path / "none.json")
    facts = json_file(tmp_path / "f.json", {UUIDS[1]: {"obj_label": "Rome"}})
    with pytest.raises(InputError, match=f"'{UUIDS[0]}' is none of the facts in {facts}"):
        read_neurons(neurons, facts)
    facts = json_file(tmp_path / "f.json", {UUIDS[0]: {"obj": "Rome"}})
    with pytest.raises(InputError, match=rf"refine\.facts {facts}: '{UUIDS[0]}' has no"):
        read_neurons(neurons, facts)


def test_every_studied_concept_needs_neurons_of_this_encoder() -> None:
    neurons = {"a": [Neuron(0, 0), Neuron(11, 3071)], "b": [], "elsewhere": [Neuron(99, 0)]}
    check_neurons(neurons, ["a", "b"], 12, 3072)
    with pytest.raises(InputError, match="has no 'c'"):
        check_neurons(neurons, ["a", "c"], 12, 3072)
    with pytest.raises(InputError, match=r"'a': \[11, 3071\]: .* 0 to 10"):
        check_neurons(neurons, ["a"], 11, 3072)
    with pytest.raises(InputError, match=r"'a': \[11, 3071\]: .* 0 to 3070"):
        check_neurons(neurons, ["a"], 12, 3071)


def run_folder(path: Path) -> Path:
    """Tables of a run of three concepts, one of them without neurons."""
    path.mkdir()
    columns: dict[str, list[Any]] = {
        "concept": ["b", "b", "a"], "layer": [0, 2, 1], "neuron": [7, 1, 5],
        "share": [1.0] * 3, "score": [0.1] * 3,
    }  # fmt: skip
    pq.write_table(pa.table(columns, schema=TABLES["neurons"]), path / "neurons.parquet")
    prompts = pa.table({"concept": ["b", "b", "é", "a"]})
    pq.write_table(prompts, path / "prompts.parquet")
    return path


def test_a_runs_neurons_are_written_by_concept_in_the_studys_order(tmp_path: Path) -> None:
    file = tmp_path / "neurons.json"
    file.write_text("an earlier one")
    write_neurons(run_folder(tmp_path / "run"), file)
    assert list(json.loads(file.read_bytes()).items()) == [
        ("b", [[0, 7], [2, 1]]),
        ("é", []),
        ("a", [[1, 5]]),
    ]
    assert read_neurons(file) == {"b": [(0, 7), (2, 1)], "é": [], "a": [(1, 5)]}
    assert {path.name for path in tmp_path.iterdir()} == {"run", "neurons.json"}


def test_export_needs_a_finished_run_and_a_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a finished run, prompts.parquet, neurons.parquet"):
        write_neurons(tmp_path, tmp_path / "neurons.json")
    run = run_folder(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/n\.json: "):
        write_neurons(run, tmp_path / "file" / "n.json")
