"""Value vectors after an edit, against sums of pencil and paper."""

from __future__ import annotations

import math

import pytest
import torch

from kn_lightning.core.weights import Erase, Update, check_weight_edits, edited_values
from kn_lightning.errors import InputError

EMBEDDINGS = torch.tensor([[3.0, 4.0], [0.0, 2.0], [-6.0, 8.0], [0.0, 0.0]])
"""Norms 5, 2, 10 and 0."""
VALUES = torch.tensor([[6.0, 8.0], [0.0, 1.0], [0.0, 0.0]])
"""Norms 10, 1 and 0."""


def test_erasing_puts_zero_or_an_embedding_in_the_place_of_each_value() -> None:
    assert torch.equal(edited_values(VALUES, Erase(), None), torch.zeros(3, 2))
    unknown = edited_values(VALUES, Erase(2), EMBEDDINGS)
    assert torch.equal(unknown, torch.tensor([[-6.0, 8.0]] * 3))


def test_update_is_dais_formula() -> None:
    # The first: (6, 8) + 10 (8 (-0.6, 0.8) - 1 (0.6, 0.8)) = (6 - 48 - 6, 8 + 64 - 8).
    # The second: (0, 1) + 1 (8 (-0.6, 0.8) - (0.6, 0.8)) = (-5.4, 6.6). The third has no size.
    found = edited_values(VALUES, Update(old=0, new=2), EMBEDDINGS)
    expected = torch.tensor([[-48.0, 64.0], [-5.4, 6.6], [0.0, 0.0]])
    torch.testing.assert_close(found, expected)


def test_lambdas_weigh_the_old_and_the_new_answer() -> None:
    def updated(lambda_1: float, lambda_2: float) -> torch.Tensor:
        return edited_values(VALUES[:1], Update(0, 1, lambda_1, lambda_2), EMBEDDINGS)

    assert torch.equal(updated(0.0, 0.0), VALUES[:1])
    torch.testing.assert_close(updated(1.0, 0.0), torch.zeros(1, 2))
    torch.testing.assert_close(updated(0.0, 0.5), torch.tensor([[6.0, 13.0]]))
    torch.testing.assert_close(updated(-1.0, 0.0), 2 * VALUES[:1])


def test_an_edit_does_not_depend_on_how_large_embeddings_are() -> None:
    scaled = edited_values(VALUES, Update(0, 2), 1000 * EMBEDDINGS)
    torch.testing.assert_close(scaled, edited_values(VALUES, Update(0, 2), EMBEDDINGS))


def test_an_embedding_of_zeros_adds_nothing() -> None:
    found = edited_values(VALUES, Update(old=3, new=3), EMBEDDINGS)
    assert torch.equal(found, VALUES)


def test_low_precision_is_rounded_once() -> None:
    torch.manual_seed(0)
    values, embeddings = torch.randn(5, 64).bfloat16(), torch.randn(2, 64).bfloat16()
    found = edited_values(values, Update(0, 1), embeddings)
    exact = edited_values(values.double(), Update(0, 1), embeddings.double())
    assert found.dtype == torch.bfloat16
    assert ((found.double() - exact).abs() <= exact.abs() * 2**-8).all()


@pytest.mark.parametrize("names", [["erase"], ["update", "update"], ["erase_zero", ""]])
def test_unknown_and_repeated_names_are_refused(names: list[str]) -> None:
    with pytest.raises(InputError, match=r"edit\.weights .*erase_zero, erase_unk, update, each"):
        check_weight_edits(names, 1.0, 8.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_lambdas_are_finite(value: float) -> None:
    check_weight_edits([], -1.0, 0.0)
    with pytest.raises(InputError, match=rf"edit\.lambda_2 {value}"):
        check_weight_edits([], 1.0, value)
