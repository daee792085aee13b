"""What is said of an answer: against float64, at extreme logits, with ties, in half precision."""

from __future__ import annotations

import math

import pytest
import torch

from kn_lightning.core.probabilities import answer_probability, answer_statistics


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
