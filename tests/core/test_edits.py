"""Random controls, held-out prompts and names of edits: seeded by words, the same everywhere."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from kn_lightning.core.edits import (
    edit_name,
    held_out,
    most_active_neurons,
    random_neurons,
    row_edits,
    seeded_generator,
)
from kn_lightning.schema import Neuron

KNOWN = [Neuron(3, 5), Neuron(0, 1), Neuron(3, 6), Neuron(3, 7), Neuron(1, 0)]


@pytest.mark.parametrize("seed", range(20))
def test_random_controls_match_the_layers_and_avoid_the_neurons_themselves(seed: int) -> None:
    drawn = random_neurons(KNOWN, 12, seeded_generator(seed))
    assert Counter(neuron.layer for neuron in drawn) == {0: 1, 1: 1, 3: 3}
    assert len(set(drawn)) == len(drawn)
    assert not set(drawn) & set(KNOWN)
    assert all(0 <= neuron.neuron < 12 for neuron in drawn)


def test_every_free_neuron_is_drawn_sooner_or_later() -> None:
    drawn = {
        neuron
        for seed in range(300)
        for neuron in random_neurons(KNOWN, 10, seeded_generator(seed))
        if neuron.layer == 3
    }
    assert drawn == {Neuron(3, index) for index in range(10) if index not in (5, 6, 7)}


def test_a_neuron_listed_twice_is_matched_by_one_control() -> None:
    drawn = random_neurons([*KNOWN, *KNOWN], 12, seeded_generator(0))
    assert len(drawn) == len(KNOWN)


def test_a_layer_without_enough_other_neurons_gives_those_it_has() -> None:
    most = [Neuron(0, index) for index in range(7)]
    assert random_neurons(most, 10, seeded_generator(0)) == [Neuron(0, i) for i in (7, 8, 9)]
    assert random_neurons(most, 7, seeded_generator(0)) == []
    assert random_neurons([], 7, seeded_generator(0)) == []


def test_different_seeds_and_concepts_draw_different_controls() -> None:
    draws = {
        tuple(random_neurons(KNOWN, 3072, seeded_generator(seed, concept, k)))
        for seed in range(3)
        for concept in ("cat", "dog")
        for k in range(3)
    }
    assert len(draws) == 18


def test_words_of_a_seed_are_kept_apart() -> None:
    one, other = seeded_generator("a", "bc"), seeded_generator("ab", "c")
    assert one.integers(1 << 60) != other.integers(1 << 60)


def test_controls_do_not_depend_on_global_seeds_and_leave_them_alone() -> None:
    draws = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        draws.append(random_neurons(KNOWN, 3072, seeded_generator(0, "cat", 1)))
        after = (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: NPY002
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        assert after == (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: NPY002
    assert draws[0] == draws[1]


def test_controls_do_not_depend_on_the_order_of_the_neurons() -> None:
    one = random_neurons(KNOWN, 100, seeded_generator(0))
    assert random_neurons(KNOWN[::-1], 100, seeded_generator(0)) == one


_PRINT_DRAWS = """
from kn_lightning.core.edits import held_out, random_neurons, seeded_generator
from kn_lightning.schema import Neuron
known = {Neuron(layer, index) for layer in range(4) for index in (1, 20, 300)}
print(random_neurons(list(known), 3072, seeded_generator(0, "kätzchen", 2)))
print(held_out("kätzchen", 9, 0.4, 7).tolist())
"""


def test_controls_and_held_out_prompts_do_not_depend_on_the_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _PRINT_DRAWS],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert b"Neuron(layer=0" in outputs.pop()


@pytest.mark.parametrize(
    ("factor", "name"),
    [(0.0, "suppress"), (2.0, "amplify"), (0, "suppress"), (-0.0, "suppress"), (2, "amplify")]
    + [(0.5, "factor:0.5"), (3.0, "factor:3"), (-1.0, "factor:-1"), (1.0, "factor:1")],
)
def test_edits_are_named_as_the_contract_says(factor: float, name: str) -> None:
    assert edit_name(factor) == name


def test_different_factors_have_different_names() -> None:
    factors = [1 + 1e-9, 1.0, 0.1234567, 0.1234568, 1e6, 1e6 + 1]
    assert len({edit_name(factor) for factor in factors}) == len(factors)


def test_row_edits_number_the_rows_of_those_with_and_without_neurons() -> None:
    edits = row_edits([(KNOWN[:2], 0.0), ([], 5.0), (KNOWN[:1], 2.5)])
    assert edits.row.tolist() == [0, 0, 2]
    assert edits.layer.tolist() == [3, 0, 3]
    assert edits.neuron.tolist() == [5, 1, 5]
    assert edits.factor.tolist() == [0, 0, 2.5]
    assert [len(part) for part in row_edits([([], 0.0)])] == [0, 0, 0, 0]
    assert row_edits([]).row.dtype == torch.long


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10])
@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.75, 0.99])
def test_a_share_is_held_out_with_a_prompt_left_on_either_side(n: int, share: float) -> None:
    for seed in range(10):
        chosen = held_out("cat", n, share, seed)
        assert chosen.dtype == torch.bool
        assert chosen.shape == (n,)
        assert 1 <= chosen.sum() <= n - 1
        assert abs(chosen.sum() - share * n) <= 0.5 or chosen.sum() in (1, n - 1)


def test_nothing_is_held_out_unless_asked_nor_of_a_single_prompt() -> None:
    assert not held_out("cat", 10, 0.0, 0).any()
    assert not held_out("cat", 1, 0.5, 0).any()


def test_which_prompts_are_held_out_depends_on_seed_and_concept() -> None:
    choices = [tuple(held_out(c, 20, 0.5, s).tolist()) for c in ("cat", "dog") for s in range(3)]
    assert len(set(choices)) == 6
    assert choices[0] == tuple(held_out("cat", 20, 0.5, 0).tolist())


def test_most_active_neurons_match_the_layers_by_mean_size_of_activation() -> None:
    activations = torch.zeros(2, 3, 4)
    activations[:, 0] = torch.tensor([[0.1, -3.0, 2.0, 0.0], [0.1, 1.0, 2.0, 0.0]])
    activations[:, 2] = torch.tensor([[5.0, 0.0, 0.0, 1.0], [-5.0, 0.0, 0.0, 0.0]])
    matched = [Neuron(2, 1), Neuron(0, 0), Neuron(0, 3), Neuron(0, 3)]
    # Layer 0: means of |w| are 0.1, 2, 2, 0; two places. Layer 2: 5, 0, 0, 0.5; one place.
    assert most_active_neurons(matched, activations) == [Neuron(0, 1), Neuron(0, 2), Neuron(2, 0)]
    assert most_active_neurons([], activations) == []
