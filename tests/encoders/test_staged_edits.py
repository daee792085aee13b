"""Edits by climbs equal edits by whole forward passes, for rows of any layers and any number."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
import torch
from torch import Tensor

from kn_lightning.core.edits import RowEdits, row_edits
from kn_lightning.core.forward import TokenBatch
from kn_lightning.core.probabilities import (
    AnswerStatistics,
    answer_statistics,
    joint_statistics,
)
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.hooked import HookedForward
from kn_lightning.encoders.staged import StagedForward
from kn_lightning.schema import Neuron

from .test_staged import EVERYTHING, several
from .tiny import LAYERS, NEURONS, fingerprint

FACTORS = (0.0, 2.0, 0.5, -1.0)
HALVES = [torch.bfloat16, torch.float16]


def random_rows(n_prompts: int, n_rows: int) -> tuple[Tensor, RowEdits]:
    """Prompts of rows, and edits: of no neuron, of one layer or of several, lowest layers mixed."""
    rows = []
    for number in range(n_rows):
        lowest = int(torch.randint(LAYERS + 1, ()))  # LAYERS: nothing is edited in this row
        layers = [lowest] * (lowest < LAYERS) + [
            layer for layer in range(lowest + 1, LAYERS) if torch.rand(()) < 0.6
        ]
        neurons = [
            Neuron(layer, index)
            for layer in layers
            for index in torch.randperm(NEURONS)[: 1 + int(torch.randint(5, ()))].tolist()
        ]
        shuffled = [neurons[i] for i in torch.randperm(len(neurons)).tolist()]
        rows.append((shuffled, FACTORS[number % len(FACTORS)]))
    return torch.randint(n_prompts, (n_rows,)), row_edits(rows)


def reference(
    encoder: Encoder, batch: TokenBatch, prompt: Tensor, edits: RowEdits
) -> AnswerStatistics:
    rows = batch.rows(prompt)
    logits = HookedForward(encoder).edited_logits(rows, edits)
    return joint_statistics(answer_statistics(logits, rows.answers))


def edited(
    encoder: Encoder, batch: TokenBatch, prompt: Tensor, edits: RowEdits, row_tokens: int
) -> AnswerStatistics:
    staged = StagedForward(encoder, row_tokens)
    return staged.edited_statistics(staged.base(batch), prompt, edits)


def assert_equal(ours: AnswerStatistics, expected: AnswerStatistics) -> None:
    torch.testing.assert_close(ours.probability, expected.probability, rtol=1e-10, atol=1e-30)
    torch.testing.assert_close(ours.log_odds, expected.log_odds, rtol=1e-10, atol=1e-10)
    assert torch.equal(ours.rank, expected.rank)
    assert torch.equal(ours.argmax, expected.argmax)


@pytest.mark.parametrize("row_tokens", [1, 100, EVERYTHING])
def test_edited_rows_equal_the_reference(
    encoder64: Encoder, encode: Callable, row_tokens: int
) -> None:
    batch = encoder64.batch(encode(encoder64))
    prompt, edits = random_rows(len(batch.answers), 60)
    lowest = {int(edits.layer[edits.row == row].min()) for row in edits.row.unique()}
    assert lowest == set(range(LAYERS))
    assert len(edits.row.unique()) < 60
    expected = reference(encoder64, batch, prompt, edits)
    assert_equal(edited(encoder64, batch, prompt, edits, row_tokens), expected)
    logits = HookedForward(encoder64).logits(batch, {})
    untouched = joint_statistics(answer_statistics(logits, batch.answers))
    moved = (expected.log_odds - untouched.log_odds[prompt]).abs() > 1e-3
    assert moved[edits.row.unique()].float().mean() > 0.8


@pytest.mark.parametrize("layer", range(LAYERS))
def test_rows_that_all_start_at_one_layer_equal_the_reference(
    encoder64: Encoder, encode: Callable, layer: int
) -> None:
    batch = encoder64.batch(encode(encoder64))
    number = len(batch.answers)
    above = [Neuron(one, 3) for one in range(layer, LAYERS)]
    edits = row_edits([(above[: 1 + row % len(above)], 2.0) for row in range(number)])
    prompt = torch.arange(number)
    expected = reference(encoder64, batch, prompt, edits)
    assert_equal(edited(encoder64, batch, prompt, edits, EVERYTHING), expected)


def test_each_neuron_of_a_row_may_have_a_factor_of_its_own(
    encoder64: Encoder, encode: Callable
) -> None:
    batch = encoder64.batch(encode(encoder64))
    prompt, edits = random_rows(len(batch.answers), 40)
    edits = edits._replace(factor=torch.randint(-8, 9, edits.factor.shape) / 4)
    expected = reference(encoder64, batch, prompt, edits)
    assert_equal(edited(encoder64, batch, prompt, edits, 200), expected)


def test_rows_without_an_edit_are_the_untouched_encoder(
    encoder64: Encoder, encode: Callable
) -> None:
    batch = encoder64.batch(encode(encoder64))
    prompt = torch.tensor([2, 0, 2, 6])
    staged = StagedForward(encoder64, EVERYTHING)
    base = staged.base(batch)
    ours = staged.edited_statistics(base, prompt, row_edits([([], 0.0)] * 4))
    assert_equal(ours, AnswerStatistics(*(column[prompt] for column in base.statistics)))


def test_no_rows_give_nothing(bert64: Encoder, encode: Callable) -> None:
    batch = bert64.batch(encode(bert64))
    ours = edited(bert64, batch, torch.zeros(0, dtype=torch.long), row_edits([]), EVERYTHING)
    assert [len(column) for column in ours] == [0] * 4


def test_one_prompt_with_many_rows_is_like_many_prompts(
    encoder64: Encoder, encode: Callable
) -> None:
    batch = encoder64.batch(several(encoder64, encode, 1))
    _, edits = random_rows(1, 30)
    prompt = torch.zeros(30, dtype=torch.long)
    expected = reference(encoder64, batch, prompt, edits)
    assert_equal(edited(encoder64, batch, prompt, edits, EVERYTHING), expected)


def layers_given(encoder: Encoder, run: Callable[[], object]) -> list[list[tuple[int, int]]]:
    """Rows and tokens that the neurons' map of each layer is given while ``run`` runs."""
    given: list[list[tuple[int, int]]] = [[] for _ in range(LAYERS)]
    with ExitStack() as stack:
        for seen, projection in zip(given, encoder.structure.projections, strict=True):

            def keep(_: object, args: tuple[Tensor], seen: list[tuple[int, int]] = seen) -> None:
                seen.append(tuple(args[0].shape[:2]))

            stack.enter_context(projection.register_forward_pre_hook(keep))
        run()
    return given


def test_a_row_starts_at_the_lowest_layer_that_it_edits(
    encoder64: Encoder, encode: Callable
) -> None:
    batch = encoder64.batch(encode(encoder64))
    width = batch.input_ids.shape[1]
    starts = [2, 0, 1, 2, 1, 2, 2]  # one row at layer 0, two at 1, three at 2, and one unedited
    rows = [([Neuron(2, 5), Neuron(start, 4)], 0.0) for start in starts[:-1]]
    edits = row_edits([*rows, ([], 0.0)])
    staged = StagedForward(encoder64, EVERYTHING)
    base = staged.base(batch)
    given = layers_given(encoder64, lambda: staged.edited_statistics(base, torch.arange(7), edits))
    # Rows from below with all their tokens, then those that start there at the mask alone; above
    # the last layer nothing but the mask is wanted of any row.
    assert given == [[(1, 1)], [(1, width), (2, 1)], [(3, 1), (4, 1)]]


def test_edits_leave_the_model_as_it_was(
    make_encoder: Callable, architecture: str, encode: Callable
) -> None:
    encoder = make_encoder(architecture)
    before = fingerprint(encoder.model)
    batch = encoder.batch(encode(encoder))
    edited(encoder, batch, *random_rows(len(batch.answers), 20), row_tokens=50)
    assert fingerprint(encoder.model) == before
    staged = StagedForward(encoder, 50)
    base = staged.base(batch)

    def out_of_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("planted")

    with (
        encoder.structure.layers[1].register_forward_pre_hook(out_of_memory),
        pytest.raises(torch.OutOfMemoryError),
    ):
        staged.edited_statistics(base, *random_rows(len(batch.answers), 20))
    assert fingerprint(encoder.model) == before


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_edits_in_mixed_precision_are_finite_and_near_float32(
    encoder: Encoder, encode: Callable, half: torch.dtype
) -> None:
    batch = encoder.batch(encode(encoder))
    prompt, edits = random_rows(len(batch.answers), 60)
    expected = edited(encoder, batch, prompt, edits, EVERYTHING)
    with torch.autocast("cpu", half):
        ours = edited(encoder, batch, prompt, edits, EVERYTHING)
    assert_near(ours, expected, half)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_edits_of_a_half_precision_model_are_finite_and_near_float32(
    make_encoder: Callable, architecture: str, encode: Callable, half: torch.dtype
) -> None:
    encoder = make_encoder(architecture, half)
    exact = make_encoder(architecture)
    batch = encoder.batch(encode(encoder))
    prompt, edits = random_rows(len(batch.answers), 60)
    ours = edited(encoder, batch, prompt, edits, EVERYTHING)
    assert_near(ours, edited(exact, batch, prompt, edits, EVERYTHING), half)


def assert_near(ours: AnswerStatistics, expected: AnswerStatistics, half: torch.dtype) -> None:
    assert ours.probability.dtype == ours.log_odds.dtype == torch.float32
    assert ours.probability.isfinite().all()
    assert ours.log_odds.isfinite().all()
    error = (ours.log_odds - expected.log_odds).abs()
    # These encoders' logits are some tens, and each layer rounds them anew.
    assert error.median() < 32 * torch.finfo(half).eps
    assert error.max() > 0
    # Probabilities are not rounded to half precision's digits.
    assert not torch.equal(ours.probability, ours.probability.to(half).float())
