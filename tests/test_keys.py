"""The prompts that activate each neuron most, over parts of a run folder, against a whole sort."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from kn_lightning.keys import KEYS, pack_keys, with_keys
from kn_lightning.schema import OPTIONAL_TABLES

LAYERS, NEURONS = 2, 3
SCHEMA = OPTIONAL_TABLES["values"]


def parts(folder: Path, activations: torch.Tensor, cuts: list[int], k: int) -> list[Path]:
    """Parts of a run folder, of as many prompts each as ``cuts`` says."""
    made, start = [], 0
    for number, size in enumerate(cuts):
        part = folder / f"{number:06d}"
        part.mkdir(parents=True)
        pq.write_table(pack_keys(activations[start : start + size], k), part / f"{KEYS}.parquet")
        ids = [f"p/{i}" for i in range(start, start + size)]
        pq.write_table(pa.table({"prompt_id": ids}), part / "prompts.parquet")
        made.append(part)
        start += size
    return made


def rows_of(layers: list[int], neurons: list[int]) -> pa.Table:
    rows = [
        {"layer": layer, "neuron": neuron} for layer, neuron in zip(layers, neurons, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.mark.parametrize("cuts", [[12], [1, 1, 10], [5, 7], [4, 4, 4]])
def test_parts_give_what_a_stable_sort_of_all_prompts_gives(
    tmp_path: Path, cuts: list[int]
) -> None:
    # Few values, so that there are ties: the first prompt of the study comes first.
    activations = torch.randint(0, 5, (12, LAYERS, NEURONS)).float()
    asked = [rows_of([1, 0], [2, 1]), rows_of([1], [0])][: len(cuts)]
    found = list(with_keys(asked, parts(tmp_path, activations, cuts, 4), 4))
    assert [len(table) for table in found] == [len(table) for table in asked]
    for table in found:
        assert table.schema == SCHEMA
        for row in table.to_pylist():
            values = activations[:, row["layer"], row["neuron"]].tolist()
            order = sorted(range(12), key=lambda i: (-values[i], i))[:4]
            assert row["prompts"] == [f"p/{i}" for i in order]
            assert row["activations"] == [values[i] for i in order]


def test_a_study_with_fewer_prompts_than_asked_for_names_them_all(tmp_path: Path) -> None:
    activations = torch.arange(12.0).view(2, LAYERS, NEURONS)
    (table,) = with_keys([rows_of([0], [1])], parts(tmp_path, activations, [1, 1], 9), 9)
    assert table["prompts"].to_pylist() == [["p/1", "p/0"]]
    assert table["activations"].to_pylist() == [[7.0, 1.0]]


def test_no_neuron_of_a_part_is_no_row(tmp_path: Path) -> None:
    activations = torch.rand(2, LAYERS, NEURONS)
    (table,) = with_keys([rows_of([], [])], parts(tmp_path, activations, [2], 3), 3)
    assert len(table) == 0
    assert table.schema == SCHEMA
