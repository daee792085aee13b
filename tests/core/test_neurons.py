"""Coarse and refined neurons at their borders: strict threshold, inclusive share, odd maxima."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from kn_lightning.core.neurons import (
    CoarseNeurons,
    coarse_neurons,
    given_neurons,
    refined_neurons,
    sized_neurons,
)


def pairs(neurons: CoarseNeurons | object) -> list[tuple[int, ...]]:
    """(layer, neuron) of refined neurons, (prompt, layer, neuron) of coarse ones."""
    columns = [neurons.layer.tolist(), neurons.neuron.tolist()]  # type: ignore[attr-defined]
    if isinstance(neurons, CoarseNeurons):
        columns.insert(0, neurons.prompt.tolist())
    return list(zip(*columns, strict=True))


def coarse_in(counts: list[int], n_prompts: int) -> Tensor:
    """Scores ``[n, 1, len(counts)]`` in which neuron i is coarse in the first counts[i] prompts."""
    scores = torch.zeros(n_prompts, 1, len(counts) + 1)
    scores[..., -1] = 1  # each prompt's largest
    for neuron, count in enumerate(counts):
        scores[:count, 0, neuron] = 0.9
    return scores


def test_a_score_just_at_the_threshold_is_not_coarse() -> None:
    scores = torch.tensor([[[1.0, 0.25, 0.2500001, 0.2499999], [0.0, -1.0, 0.5, 0.25]]])
    assert pairs(coarse_neurons(scores, 0.25)) == [(0, 0, 0), (0, 0, 2), (0, 1, 2)]


def test_the_largest_is_taken_over_all_layers_of_its_own_prompt() -> None:
    scores = torch.tensor([[[0.1, 0.0], [10.0, 0.0]], [[0.1, 0.0], [0.0, 0.03]]])
    coarse = coarse_neurons(scores, 0.2)
    assert pairs(coarse) == [(0, 1, 0), (1, 0, 0), (1, 1, 1)]
    assert coarse.score.tolist() == pytest.approx([10, 0.1, 0.03])


@pytest.mark.parametrize("largest", [0.0, -0.5])
@pytest.mark.parametrize("threshold", [0.2, 1.5])
def test_a_prompt_whose_largest_score_is_not_positive_has_none(
    largest: float, threshold: float
) -> None:
    scores = torch.full((2, 2, 3), largest - 1)
    scores[0, 0, 0] = largest
    scores[1, 1, 2] = 1.0
    # With ">=" at zero, or t * max far below zero, everything would pass.
    assert pairs(coarse_neurons(scores, threshold)) == ([(1, 1, 2)] if threshold < 1 else [])


def test_all_zero_scores_have_no_coarse_neurons() -> None:
    assert pairs(coarse_neurons(torch.zeros(2, 2, 3), 0.2)) == []


def test_negative_scores_are_never_coarse_however_large() -> None:
    scores = torch.tensor([[[1.0, -100.0, 0.3]]])
    assert pairs(coarse_neurons(scores, 0.2)) == [(0, 0, 0), (0, 0, 2)]


def test_coarse_neurons_come_ordered_by_prompt_layer_and_neuron() -> None:
    scores = torch.rand(5, 3, 40)
    found = pairs(coarse_neurons(scores, 0.3))
    assert found == sorted(set(found))
    expected = [
        index
        for index in itertools.product(range(5), range(3), range(40))
        if scores[index] > 0.3 * scores[index[0]].max()
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("inclusive", "kept"),
    [(True, [2, 3, 4]), (False, [3, 4])],
    ids=["paper: p % or more", "its code: more than p %"],
)
def test_half_of_four_prompts_is_enough_if_inclusive_and_not_if_exclusive(
    inclusive: bool, kept: list[int]
) -> None:
    scores = coarse_in([0, 1, 2, 3, 4], 4)
    refined = refined_neurons(scores, coarse_neurons(scores, 0.2), 0.5, inclusive)
    assert refined.neuron.tolist() == [*kept, 5]
    assert refined.share.tolist() == [*(count / 4 for count in kept), 1]


@pytest.mark.parametrize(("inclusive", "first"), [(True, 1), (False, 2)])
@pytest.mark.parametrize(("share", "n"), [(0.7, 10), (0.55, 20), (0.07, 100), (0.29, 100)])
def test_a_share_of_whole_prompts_is_no_less_for_floating_point(
    share: float, n: int, inclusive: bool, first: int
) -> None:
    # 0.55 * 20 is 11.000000000000002, 0.29 * 100 is 28.999999999999996
    needed = round(share * n)
    scores = coarse_in([needed - 1, needed, needed + 1], n)
    refined = refined_neurons(scores, coarse_neurons(scores, 0.2), share, inclusive)
    assert refined.neuron.tolist() == [0, 1, 2, 3][first:]


def test_every_share_of_whole_prompts_is_counted_exactly() -> None:
    from fractions import Fraction

    for n in range(1, 31):
        scores = coarse_in(list(range(n + 1)), n)
        coarse = coarse_neurons(scores, 0.2)
        for percent in range(5, 101, 5):
            share = percent / 100
            exact = Fraction(percent, 100) * n
            for inclusive in (True, False):
                found = refined_neurons(scores, coarse, share, inclusive).neuron.tolist()
                counts = [c for c in range(1, n + 1) if (c >= exact if inclusive else c > exact)]
                last = [n + 1] if (n >= exact if inclusive else n > exact) else []
                assert found == counts + last, (n, percent, inclusive)


def test_refined_neurons_are_ordered_and_none_comes_twice() -> None:
    scores = torch.rand(6, 4, 50)
    found = pairs(refined_neurons(scores, coarse_neurons(scores, 0.2), 0.5))
    assert len(found) > 20
    assert found == sorted(set(found))


def test_the_layer_and_neuron_of_a_refined_neuron_are_not_mixed_up() -> None:
    scores = torch.zeros(2, 3, 5)
    scores[:, 2, 1] = 1
    scores[:, 0, 4] = 0.7
    refined = refined_neurons(scores, coarse_neurons(scores, 0.2), 0.5)
    assert pairs(refined) == [(0, 4), (2, 1)]
    assert refined.score.tolist() == pytest.approx([0.7, 1])


def test_the_score_is_the_mean_over_all_prompts_not_over_those_where_it_is_coarse() -> None:
    scores = torch.zeros(4, 1, 3)
    scores[:, 0, 0] = 1
    scores[:, 0, 1] = torch.tensor([0.8, 0.6, 0.1, -0.3])
    refined = refined_neurons(scores, coarse_neurons(scores, 0.2), 0.5)
    assert refined.neuron.tolist() == [0, 1]
    assert refined.share.tolist() == [1, 0.5]
    assert refined.score.tolist() == pytest.approx([1, 0.3])


def test_a_single_prompt_refines_to_its_coarse_neurons() -> None:
    scores = torch.rand(1, 2, 6)
    coarse = coarse_neurons(scores, 0.2)
    refined = refined_neurons(scores, coarse, 1.0)
    assert pairs(refined) == [pair[1:] for pair in pairs(coarse)]


def test_no_coarse_neurons_give_no_refined_ones() -> None:
    scores = -torch.rand(4, 2, 3)
    refined = refined_neurons(scores, coarse_neurons(scores, 0.2), 0.5)
    assert [len(part) for part in refined] == [0, 0, 0, 0]


def test_one_dominant_neuron_leaves_its_prompt_with_that_neuron_alone() -> None:
    scores = torch.rand(3, 2, 10)
    scores[1, 0, 0] = 100
    found = pairs(coarse_neurons(scores, 0.2))
    assert [pair for pair in found if pair[0] == 1] == [(1, 0, 0)]
    assert len(found) > 20


def sized(counts: list[int], n: int, share: float, size: tuple[int, int]) -> list[int]:
    """Neurons of the search among those coarse in so many of n prompts, the certain one aside."""
    scores = coarse_in(counts, n)
    found = sized_neurons(scores, coarse_neurons(scores, 0.2), share, True, size).neuron.tolist()
    return [neuron for neuron in found if neuron < len(counts)]


@pytest.mark.parametrize(
    ("counts", "share", "kept"),
    [
        # 20 prompts; the neuron that is always coarse is one of the 2 to 5.
        ([20, 20, 14, 1], 0.7, [0, 1, 2]),  # fits at once, though 0.65 and 0.75 fit as well
        ([13, 12, 1], 0.7, [0]),  # 0.65
        ([11, 10], 0.7, [0]),  # 0.55
        ([14, 14, 14, 15, 15, 15], 0.7, [3, 4, 5]),  # 0.75
        ([18, 18, 18, 18, 18, 19], 0.7, [5]),  # 0.95: the sixth share
        ([9, 9, 8], 0.7, [0, 1]),  # 0.45: the sixth share
        ([8, 8, 8], 0.7, []),  # would need a seventh
        ([20, 20, 20, 20, 20, 20], 0.7, [0, 1, 2, 3, 4, 5]),  # never few enough
        ([13, 13, 13, 13, 13], 0.7, [0, 1, 2, 3, 4]),  # 1 at 0.7, 6 at 0.65, to and fro
        ([1, 1], 0.1, [0, 1]),  # 0.05
        ([20, 20, 20, 20, 20], 1.0, [0, 1, 2, 3, 4]),  # a share above 1 would leave none
    ],
)
def test_the_share_is_moved_until_the_neurons_are_as_many_as_wanted(
    counts: list[int], share: float, kept: list[int]
) -> None:
    assert sized(counts, 20, share, (2, 5)) == kept


@pytest.mark.parametrize("inclusive", [True, False])
def test_the_search_tries_the_shares_that_dais_code_tries(inclusive: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    tried = set()
    for _ in range(60):
        most = int(torch.randint(8, 22, (), generator=generator))
        counts = torch.randint(0, most, (12,), generator=generator).tolist()
        scores = coarse_in(counts, 20)
        coarse = coarse_neurons(scores, 0.2)
        share, expected = 0.7, None
        for _ in range(6):
            expected = refined_neurons(scores, coarse, share, inclusive)
            last = share
            if len(expected.neuron) < 2:
                share -= 0.05
            if len(expected.neuron) > 5:
                share += 0.05
            if 2 <= len(expected.neuron) <= 5:
                break
        tried.add(round(last, 2))
        found = sized_neurons(scores, coarse, 0.7, inclusive, (2, 5))
        assert expected is not None
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert len(tried) > 3


def test_given_neurons_have_their_share_and_score_on_these_prompts() -> None:
    scores = torch.zeros(4, 2, 3)
    scores[:, 0, 0] = 1
    scores[:, 1, 2] = torch.tensor([0.8, 0.6, 0.1, -0.3])
    scores[:, 1, 0] = -0.5
    found = given_neurons(scores, coarse_neurons(scores, 0.2), [(0, 0), (1, 0), (1, 2)])
    assert pairs(found) == [(0, 0), (1, 0), (1, 2)]
    assert found.share.tolist() == [1, 0, 0.5]
    assert found.score.tolist() == pytest.approx([1, -0.5, 0.3])
    assert [len(part) for part in given_neurons(scores, coarse_neurons(scores, 0.2), [])] == [0] * 4


def test_refined_neurons_given_again_are_the_same() -> None:
    scores = torch.rand(6, 4, 50)
    coarse = coarse_neurons(scores, 0.2)
    refined = refined_neurons(scores, coarse, 0.5)
    again = given_neurons(scores, coarse, pairs(refined))
    assert len(refined.neuron) > 20
    assert all(torch.equal(a, b) for a, b in zip(refined, again, strict=True))
