"""Activations of packs -> the prompts of the whole study that activate each neuron most: its key.

Which neurons will be asked for is known when the last pack is done, so each part of a run folder
keeps the best prompts of all neurons, and closing the folder finds the best of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

KEYS = "keys"
"""A table that parts have and a run folder doesn't: one row a neuron, layer after layer."""


class _Best(NamedTuple):
    """The prompts that activate N neurons most, and how much, best first, both ``[N, K]``."""

    prompt: npt.NDArray[np.int32]
    activation: npt.NDArray[np.float32]


def pack_keys(activations: Tensor, k: int) -> pa.Table:
    """The up to ``k`` prompts of a pack that activate each neuron most.

    Args:
        activations: ``[B, L, I]``.
        k: how many; of equal ones the first.
    """
    n_layers, n_neurons = activations.shape[1:]
    order = activations.flatten(1).T.contiguous().sort(dim=1, descending=True, stable=True)
    best = _Best(
        order.indices[:, :k].numpy().astype(np.int32),
        order.values[:, :k].numpy().astype(np.float32),
    )
    return pa.table(
        {
            "layer": np.repeat(np.arange(n_layers, dtype=np.int32), n_neurons),
            "neuron": np.tile(np.arange(n_neurons, dtype=np.int32), n_layers),
            **{name: _lists(part) for name, part in best._asdict().items()},
        }
    )


def with_keys(values: Iterable[pa.Table], parts: Sequence[Path], k: int) -> Iterator[pa.Table]:
    """Tables of values with their last two columns: the prompts that activate each neuron most.

    Args:
        values: one a part.
        parts: folders with the keys and prompts of each, in the study's order.
        k: how many prompts, where the study has as many.
    """
    best: _Best | None = None
    ids: list[str] = []
    n_neurons = 0
    for part in parts:
        table = pq.read_table(part / f"{KEYS}.parquet")
        n_neurons = int(table["neuron"][-1].as_py()) + 1
        own = _Best(_matrix(table["prompt"]) + len(ids), _matrix(table["activation"]))
        ids += pq.read_table(part / "prompts.parquet", columns=["prompt_id"])[0].to_pylist()
        best = own if best is None else _better(best, own, k)
    names = np.array(ids, dtype=object)
    for table in values:
        assert best is not None
        rows = table["layer"].to_numpy() * n_neurons + table["neuron"].to_numpy()
        for name, column in (
            ("prompts", names[best.prompt[rows]]),
            ("activations", best.activation[rows]),
        ):
            place = table.schema.get_field_index(name)
            field = table.schema.field(place)
            table = table.set_column(place, field, pa.array(column.tolist(), field.type))
        yield table


def _better(first: _Best, second: _Best, k: int) -> _Best:
    """The ``k`` best of both; of equal ones those of the first."""
    prompt, activation = (np.concatenate(pair, 1) for pair in zip(first, second, strict=True))
    order = np.argsort(-activation, axis=1, kind="stable")[:, :k]
    return _Best(np.take_along_axis(prompt, order, 1), np.take_along_axis(activation, order, 1))


def _lists(matrix: npt.NDArray[np.generic]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def _matrix(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    return np.array(column.combine_chunks().flatten()).reshape(len(column), -1)
