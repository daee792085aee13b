"""What is said of an answer: against float64, at extreme logits, with ties, in half precision.

First from logits, then from the decoder's input, without any whole row of logits.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kn_lightning.core.probabilities import (
    Decoder,
    answer_probability,
    answer_statistics,
    decoded_probability,
    decoded_statistics,
)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 100.0])
def test_probability_and_log_odds_equal_float64_by_hand(scale: float) -> None:
    logits = scale * torch.randn(50, 31)
    answer = torch.randint(31, (50,))
    ours = answer_statistics(logits, answer)
    for row in range(50):
        exact = [math.exp(x - logits[row].max().item()) for x in logits[row].double().tolist()]
        own, total = exact[answer[row]], math.fsum(exact)
        assert ours.probability[row].item() == pytest.approx(own / total, rel=1e-4, abs=1e-37)
        if own > 1e-30:
            expected = math.log(own) - math.log(math.fsum(exact) - own) if own < total else math.inf
            if math.isfinite(expected) and own / total < 0.99:
                assert ours.log_odds[row].item() == pytest.approx(expected, abs=1e-3)
    assert torch.equal(ours.probability, answer_probability(logits, answer))


def test_log_odds_stay_exact_where_the_probability_rounds_to_one() -> None:
    logits = torch.tensor([[40.0, 0.0, 0.0], [0.0, 40.0, 1.0]])
    ours = answer_statistics(logits, torch.tensor([0, 1]))
    assert ours.probability.tolist() == [1.0, 1.0]
    expected = [40 - math.log(2), 40 - math.log(1 + math.e)]
    assert ours.log_odds.tolist() == pytest.approx(expected, rel=1e-6)


def test_log_odds_stay_exact_where_the_probability_is_tiny() -> None:
    ours = answer_statistics(torch.tensor([[0.0, 80.0, 80.0]]), torch.tensor([0]))
    assert ours.probability.item() == pytest.approx(math.exp(-80) / 2, rel=1e-4)
    assert ours.log_odds.item() == pytest.approx(-80 - math.log(2), rel=1e-6)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_logits_give_numbers(size: float) -> None:
    logits = torch.tensor([[size, -size, 0.0]] * 3)
    ours = answer_statistics(logits, torch.tensor([0, 1, 2]))
    assert ours.probability.tolist() == [1, 0, 0]
    assert ours.log_odds.isfinite().all()
    assert ours.rank.tolist() == [1, 3, 2]


def test_ranks_count_the_tokens_that_are_strictly_likelier() -> None:
    logits = torch.tensor([[3.0, 1.0, 3.0, 2.0, 1.0]]).expand(5, -1)
    ours = answer_statistics(logits, torch.arange(5))
    assert ours.rank.tolist() == [1, 4, 1, 3, 4]
    assert set(ours.argmax.tolist()) == {0}


def test_of_equal_logits_all_are_first() -> None:
    ours = answer_statistics(torch.zeros(4, 4), torch.arange(4))
    assert ours.rank.tolist() == [1] * 4
    assert ours.probability.tolist() == [0.25] * 4
    assert ours.log_odds.tolist() == pytest.approx([-math.log(3)] * 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_judged_in_float32(dtype: torch.dtype) -> None:
    logits = torch.randn(20, 1000).to(dtype)
    answer = torch.randint(1000, (20,))
    ours = answer_statistics(logits, answer)
    exact = logits.double().softmax(-1)[torch.arange(20), answer]
    assert ours.probability.dtype == ours.log_odds.dtype == torch.float32
    torch.testing.assert_close(ours.probability.double(), exact, rtol=1e-5, atol=0)
    # A softmax in half precision would be off by its 8 or 11 bits.
    low = logits.softmax(-1)[torch.arange(20), answer].double()
    assert ((low - exact) / exact).abs().max() > 1e-4


def test_float64_logits_stay_float64() -> None:
    ours = answer_statistics(torch.randn(3, 5, dtype=torch.float64), torch.tensor([0, 1, 2]))
    assert ours.probability.dtype == ours.log_odds.dtype == torch.float64


def test_the_gradient_is_that_of_a_softmax() -> None:
    logits = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    answer = torch.tensor([0, 3, 6, 3])
    answer_probability(logits, answer).sum().backward()
    p = logits.detach().softmax(-1)
    own = p[torch.arange(4), answer][:, None]
    expected = own * (torch.nn.functional.one_hot(answer, 7) - p)
    torch.testing.assert_close(logits.grad, expected)


def test_statistics_leave_the_logits_as_they_are() -> None:
    logits = torch.randn(3, 5)
    before = logits.clone()
    answer_statistics(logits, torch.tensor([0, 1, 2]))
    assert torch.equal(logits, before)


# The same, walking the vocabulary in blocks

WIDTH = 8
BLOCK = 2048
VOCABULARIES = [2, 31, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7]
PRECISION = {torch.float32: 1e-5, torch.float64: 1e-12}


def some_features(
    vocabulary: int, bias: bool = True, dtype: torch.dtype = torch.float64, scale: float = 1.0
) -> tuple[Tensor, Decoder, Tensor]:
    """Features of rows, a decoder, and answers at all ends of its blocks and in between."""
    edges = (0, 1, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK, vocabulary - 2, vocabulary - 1)
    answers = sorted({edge for edge in edges if 0 <= edge < vocabulary})
    answer = torch.tensor([*answers, *torch.randint(vocabulary, (9,)).tolist()])
    weight = torch.randn(vocabulary, WIDTH, dtype=dtype)
    decoder = Decoder(weight, torch.randn(vocabulary, dtype=dtype) if bias else None)
    return scale * torch.randn(len(answer), WIDTH, dtype=dtype), decoder, answer


def full_logits(features: Tensor, decoder: Decoder) -> Tensor:
    logits = features @ decoder.weight.T
    return logits if decoder.bias is None else logits + decoder.bias


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_decoded_statistics_are_those_of_all_logits(
    vocabulary: int, dtype: torch.dtype, bias: bool
) -> None:
    features, decoder, answer = some_features(vocabulary, bias, dtype)
    ours = decoded_statistics(features, decoder, answer)
    expected = answer_statistics(full_logits(features, decoder), answer)
    bound = PRECISION[dtype]
    assert ours.probability.dtype == ours.log_odds.dtype == dtype
    torch.testing.assert_close(ours.probability, expected.probability, rtol=bound, atol=0)
    torch.testing.assert_close(ours.log_odds, expected.log_odds, rtol=bound, atol=bound)
    assert torch.equal(ours.rank, expected.rank)
    assert torch.equal(ours.argmax, expected.argmax)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_decoded_probability_and_its_gradient_are_those_of_all_logits(
    vocabulary: int, dtype: torch.dtype, bias: bool
) -> None:
    features, decoder, answer = some_features(vocabulary, bias, dtype)
    weights = torch.rand(len(answer), dtype=dtype)  # each row's own, to show rows mixed up
    results = []
    for row_probability in (
        lambda x: decoded_probability(x, decoder, answer),
        lambda x: answer_probability(full_logits(x, decoder), answer),
    ):
        leaf = features.clone().requires_grad_(True)
        probability = row_probability(leaf)
        (gradient,) = torch.autograd.grad((weights * probability).sum(), leaf)
        results.append((probability.detach(), gradient / gradient.norm(dim=1, keepdim=True)))
        # Without any gradient the same.
        with torch.no_grad():
            assert torch.equal(row_probability(features), results[-1][0])
    bound = PRECISION[dtype]
    torch.testing.assert_close(results[0][0], results[1][0], rtol=bound, atol=0)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=0, atol=10 * bound)


@pytest.mark.parametrize("vocabulary", [31, BLOCK + 5])
def test_decoded_gradient_equals_finite_differences(vocabulary: int) -> None:
    features, decoder, answer = some_features(vocabulary)
    features, answer = features[-6:].requires_grad_(True), answer[-6:]
    assert torch.autograd.gradcheck(lambda x: decoded_probability(x, decoder, answer), features)


def test_decoded_probability_is_differentiable_once_and_says_so() -> None:
    features, decoder, answer = some_features(31)
    features.requires_grad_(True)
    squared = decoded_probability(features, decoder, answer).square().sum()
    (gradient,) = torch.autograd.grad(squared, features, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize("near", [1.0, 0.0])
def test_decoded_probabilities_near_one_and_near_zero_keep_their_digits(
    near: float, dtype: torch.dtype
) -> None:
    scale = 10.0 if near else 3.0
    features, decoder, _ = some_features(BLOCK + 5, dtype=dtype, scale=scale)
    logits = full_logits(features, decoder)
    answer = logits.argmax(-1) if near else logits.argmin(-1)
    ours = decoded_probability(features.requires_grad_(True), decoder, answer)
    (gradient,) = torch.autograd.grad(ours.sum(), features)
    log_odds = decoded_statistics(features.detach(), decoder, answer).log_odds

    wide = features.detach().double().requires_grad_(True)
    logits = full_logits(wide, Decoder(*(part.double() for part in decoder)))
    expected = answer_probability(logits, answer)
    (slope,) = torch.autograd.grad(expected.sum(), wide)
    reference = answer_statistics(logits.detach(), answer).log_odds
    assert (expected - near).abs().min() < 1e-4
    bound = 20 * PRECISION[dtype]  # logits here have two digits before their point
    torch.testing.assert_close(ours.double(), expected, rtol=bound, atol=0)
    torch.testing.assert_close(log_odds.double(), reference, rtol=bound, atol=bound)
    # P (W[answer] - mean of W) is a difference of rows of W: rounding is a share of those.
    size = expected.detach()[:, None] * decoder.weight.double().abs().max()
    assert ((gradient.double() - slope).abs() <= bound * size).all()


def test_decoded_log_odds_stay_exact_where_the_probability_rounds_to_one() -> None:
    decoder = Decoder(torch.eye(3), None)
    features = torch.tensor([[40.0, 0.0, 0.0], [0.0, 40.0, 1.0], [0.0, 80.0, 80.0]])
    ours = decoded_statistics(features, decoder, torch.tensor([0, 1, 0]))
    assert ours.probability[:2].tolist() == [1.0, 1.0]
    assert ours.probability[2].item() == pytest.approx(math.exp(-80) / 2, rel=1e-4)
    expected = [40 - math.log(2), 40 - math.log(1 + math.e), -80 - math.log(2)]
    assert ours.log_odds.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_decoded_logits_give_numbers(size: float) -> None:
    decoder = Decoder(torch.eye(3), None)
    features = torch.tensor([[size, -size, 0.0]] * 3, requires_grad=True)
    answer = torch.tensor([0, 1, 2])
    ours = decoded_statistics(features.detach(), decoder, answer)
    assert ours.probability.tolist() == [1, 0, 0]
    assert ours.log_odds.isfinite().all()
    assert ours.rank.tolist() == [1, 3, 2]
    probability = decoded_probability(features, decoder, answer)
    assert probability.tolist() == [1, 0, 0]
    (gradient,) = torch.autograd.grad(probability.sum(), features)
    assert gradient.tolist() == [[0] * 3] * 3


def test_decoded_ranks_count_the_tokens_that_are_strictly_likelier() -> None:
    vocabulary = BLOCK + 3
    logits = torch.zeros(vocabulary)
    logits[[0, 2, BLOCK, BLOCK + 1]] = torch.tensor([3.0, 2.0, 3.0, 1.0])
    decoder = Decoder(logits[:, None].clone(), None)
    answer = torch.tensor([0, BLOCK, 2, BLOCK + 1, 1, BLOCK + 2])
    ours = decoded_statistics(torch.ones(len(answer), 1), decoder, answer)
    assert ours.rank.tolist() == [1, 1, 3, 4, 5, 5]
    # Of the two likeliest tokens it names the answer where that is one of them.
    assert ours.argmax.tolist() == [0, BLOCK, 0, 0, 0, 0]


def test_all_tokens_alike_are_all_first_with_an_equal_share() -> None:
    vocabulary = 2 * BLOCK + 7
    decoder = Decoder(torch.zeros(vocabulary, WIDTH), torch.full((vocabulary,), 0.3))
    answer = torch.tensor([0, BLOCK, vocabulary - 1])
    ours = decoded_statistics(torch.randn(3, WIDTH), decoder, answer)
    assert ours.rank.tolist() == [1] * 3
    assert ours.probability.tolist() == pytest.approx([1 / vocabulary] * 3, rel=1e-4)
    assert ours.argmax.tolist() == answer.tolist()


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_does_not_reach_what_is_decoded(half: torch.dtype) -> None:
    features, decoder, answer = some_features(BLOCK + 5, dtype=torch.float32)
    # As a half-precision model gives them: features widened, weights still narrow.
    features = features.to(half).float()
    decoder = Decoder(decoder.weight.to(half), decoder.bias.to(half))
    exact = full_logits(features.double(), Decoder(*(part.double() for part in decoder)))
    expected = answer_statistics(exact, answer)
    with torch.autocast("cpu", half):
        ours = decoded_statistics(features, decoder, answer)
        probability = decoded_probability(features.requires_grad_(True), decoder, answer)
    (gradient,) = torch.autograd.grad(probability.sum(), features)
    assert probability.dtype == gradient.dtype == ours.probability.dtype == torch.float32
    for found in (ours.probability, probability.detach()):
        torch.testing.assert_close(found.double(), expected.probability, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours.log_odds.double(), expected.log_odds, rtol=1e-5, atol=1e-5)
    assert torch.equal(ours.rank, expected.rank)
    leaf = features.detach().double().requires_grad_(True)
    wide = Decoder(*(part.double() for part in decoder))
    (slope,) = torch.autograd.grad(answer_probability(full_logits(leaf, wide), answer).sum(), leaf)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-4, atol=1e-7)


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor that is made within the block holds."""

    numbers = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


def test_no_row_of_logits_is_ever_whole() -> None:
    rows, vocabulary = 60, 4 * BLOCK + 5
    decoder = Decoder(torch.randn(vocabulary, WIDTH), torch.randn(vocabulary))
    answer = torch.randint(vocabulary, (rows,))
    features = torch.randn(rows, WIDTH, requires_grad=True)
    with Largest() as whole:
        answer_statistics(full_logits(features.detach(), decoder), answer)
    assert whole.numbers == rows * vocabulary  # it would be seen
    with Largest() as largest:
        decoded_statistics(features.detach(), decoder, answer)
        decoded_probability(features, decoder, answer).sum().backward()
    assert largest.numbers <= rows * BLOCK
