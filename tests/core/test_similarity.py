"""n-sample similarity of prompts' scores: by singular values, and of cases that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kn_lightning.core.similarity import cosines, group_similarity, n_sample_similarity


def by_singular_values(vectors: np.ndarray) -> float:
    """As it is defined, of vectors ``[n, N]``."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return float((np.linalg.svd(unit, compute_uv=False)[0] ** 2 - 1) / (len(unit) - 1))


def drawn(n: int, seed: int = 0, shared: float = 1.0) -> torch.Tensor:
    """Scores of n prompts, three layers of 50 neurons, that have a part in common."""
    draw = torch.Generator().manual_seed(seed)
    common = shared * torch.randn(1, 3, 50, generator=draw)
    return common + torch.randn(n, 3, 50, generator=draw)


@pytest.mark.parametrize("n", [2, 3, 12, 200])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_it_is_that_of_singular_values_at_any_size_of_scores(n: int, size: float) -> None:
    scores = drawn(n) * size
    (own,), _ = group_similarity(scores, [n])
    assert own == pytest.approx(by_singular_values(scores.flatten(1).double().numpy()), rel=1e-12)
    assert 0.2 < own < 0.8


@pytest.mark.parametrize("n", [2, 3, 7])
def test_it_is_one_on_a_line_and_zero_for_orthogonal_scores(n: int) -> None:
    line = drawn(1) * torch.linspace(-2, 2.5, n)[:, None, None]  # of either sign
    assert float(group_similarity(line, [n]).own) == pytest.approx(1, abs=1e-12)
    orthogonal = torch.eye(12)[:n].view(n, 3, 4) * 5
    assert float(group_similarity(orthogonal, [n]).own) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("cosine", [-0.8, -0.1, 0.0, 0.3])
def test_of_two_prompts_it_is_the_cosine_without_its_sign(cosine: float) -> None:
    scores = torch.tensor([[[1.0, 0]], [[cosine, math.sqrt(1 - cosine**2)]]], dtype=torch.float64)
    (own,), _ = group_similarity(scores, [2])
    assert own == pytest.approx(abs(cosine))


def test_it_stays_in_its_range_and_is_at_least_the_mean_cosine() -> None:
    for seed in range(50):
        n = 2 + seed % 9
        pairs = cosines(drawn(n, seed, shared=seed % 3) - seed % 2)
        value = float(n_sample_similarity(pairs))
        assert 0 <= value <= 1
        mean = float((pairs.sum() - n) / (n * (n - 1)))
        assert value >= mean - 1e-12
    # Equal cosines of all pairs are their own similarity, down to the least that n vectors can
    # have; there it is as far from 0 as two of a plane's three directions are.
    for value, expected in ((0.4, 0.4), (-0.5, 0.25)):
        equal = torch.full((3, 3), value, dtype=torch.float64).fill_diagonal_(1)
        assert float(n_sample_similarity(equal)) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_scores_without_a_direction_leave_their_concept_undefined_and_no_other(bad: float) -> None:
    scores = drawn(7)
    scores[1] = bad
    own, between = group_similarity(scores, [3, 4])
    assert own[0].isnan()
    assert own[1] == group_similarity(scores[3:], [4]).own
    # Sets with prompt 1 are left out: (1, 5) of the first concept, (3, 1) and (6, 1) of the other.
    pairs = cosines(scores).abs()
    expected = [(pairs[0, 4] + pairs[2, 6]) / 2, (pairs[4, 2] + pairs[5, 0]) / 2]
    assert between.tolist() == pytest.approx([float(value) for value in expected])


def test_a_single_prompt_and_a_single_concept_have_nothing_to_compare() -> None:
    own, between = group_similarity(drawn(4), [1, 3])
    assert own.isnan().tolist() == [True, False]
    assert between.isnan().tolist() == [True, False]
    own, between = group_similarity(drawn(3), [3])
    assert own.isnan().tolist() == [False]
    assert between.isnan().tolist() == [True]


def test_sets_of_different_concepts_take_another_concept_and_another_wording_each() -> None:
    scores = drawn(11, shared=0.5)
    places = [[0, 1, 2], [3], [4, 5, 6, 7, 8], [9, 10]]  # prompts of four concepts
    sets = [
        [[0, 3, 6], [1, 3, 7], [2, 3, 8]],  # three prompts: itself and the two that follow
        None,
        [[4, 10, 2, 3], [5, 9, 0, 3], [6, 10, 1, 3], [7, 9, 2, 3], [8, 10, 0, 3]],  # four there are
        [[9, 1], [10, 2]],  # the last is followed by the first
    ]
    _, between = group_similarity(scores, [len(own) for own in places])
    flat = scores.flatten(1).double().numpy()
    for value, own in zip(between.tolist(), sets, strict=True):
        if own is None:
            assert math.isnan(value)
        else:
            assert value == pytest.approx(np.mean([by_singular_values(flat[rows]) for rows in own]))


def test_prompts_that_say_the_same_are_told_from_those_that_say_anything() -> None:
    own, between = group_similarity(torch.cat([drawn(5, seed) for seed in range(8)]), [5] * 8)
    assert own.min() > 0.4
    assert between.max() < 0.2


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_show_in_what_is_stored(threads: int) -> None:
    before = torch.get_num_threads()
    scores = torch.cat([drawn(9, seed, shared=0.3) for seed in range(9)])
    expected = [part.float() for part in group_similarity(scores, [9] * 9)]
    try:
        torch.set_num_threads(threads)
        found = [part.float() for part in group_similarity(scores, [9] * 9)]
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, found, expected))
