"""Edits of one layer summed up by row: against the plain formula, and what it takes of memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kn_lightning.core.edits import RowEdits
from kn_lightning.encoders.climb import change_of_output


def some_edits(n_rows: int, n_edits: int, n_neurons: int) -> RowEdits:
    """Edits of rows in no order, several of one row, none of another."""
    generator = torch.Generator().manual_seed(0)
    row = torch.randint(n_rows, (n_edits,), generator=generator)
    row[row == 1] = 0
    neuron = torch.randint(n_neurons, (n_edits,), generator=generator)
    factor = torch.rand(n_edits, generator=generator) * 3
    return RowEdits(row, torch.zeros_like(row), neuron, factor)


@pytest.mark.parametrize("n_masks", [1, 3])
@pytest.mark.parametrize("n_edits", [0, 1, 40])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_rows_change_by_the_sum_of_their_edits(
    n_masks: int, n_edits: int, dtype: torch.dtype
) -> None:
    edits = some_edits(7, n_edits, 20)
    activation, weight = torch.randn(n_edits, n_masks).double(), torch.randn(5, 20).double()
    expected = torch.zeros(7, n_masks, 5, dtype=torch.float64)
    for k in range(n_edits):
        expected[edits.row[k]] += (edits.factor[k].double() - 1) * (
            activation[k][:, None] * weight[:, edits.neuron[k]]
        )
    like = torch.empty(0, dtype=dtype)
    found = change_of_output(edits, activation, weight, 7, like)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    tolerance = {torch.float64: 1e-6, torch.float32: 1e-5}.get(dtype, 0.1)
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


class LargestTensor(TorchDispatchMode):
    """Entries of the largest tensor that any operation gives."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.entries = max([self.entries, *sizes])
        return result


def test_hundreds_of_edited_neurons_a_row_are_never_spread_out() -> None:
    n_rows, width, n_neurons = 50, 32, 128
    edits = some_edits(n_rows, 400 * n_rows, n_neurons)
    activation, weight = torch.randn(len(edits.row), 1), torch.randn(width, n_neurons)
    with LargestTensor() as largest:
        change_of_output(edits, activation, weight, n_rows, weight)
    assert largest.entries <= max(len(edits.row), n_rows * width, n_neurons * width)
