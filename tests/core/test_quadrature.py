"""Quadrature rules: nodes and weights by hand, what they integrate exactly, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from kn_lightning.core.quadrature import (
    DEFAULT_TOLERANCE,
    LOOSE,
    RULES,
    Quadrature,
    adaptive_rules,
    check_rule,
    quadrature,
)
from kn_lightning.errors import InputError

PROPER = sorted(set(RULES) - {"linspace"})


def integral(rule: Quadrature, power: int) -> float:
    """Of x ** power over [0, 1], by the rule; the truth is 1 / (power + 1)."""
    return float((rule.weights * rule.nodes**power).sum())


@pytest.mark.parametrize(
    ("name", "nodes", "weights"),
    [
        ("riemann_left", [0, 0.25, 0.5, 0.75], [0.25] * 4),
        ("riemann_right", [0.25, 0.5, 0.75, 1], [0.25] * 4),
        ("riemann_midpoint", [0.125, 0.375, 0.625, 0.875], [0.25] * 4),
        ("trapezoid", [0, 1 / 3, 2 / 3, 1], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
        ("linspace", [0, 1 / 3, 2 / 3, 1], [0.25] * 4),
        ("gauss_legendre", [0.5 - 0.5 / math.sqrt(3), 0.5 + 0.5 / math.sqrt(3)], [0.5, 0.5]),
        ("gauss_lobatto", [0, 1], [0.5, 0.5]),
        ("gauss_lobatto", [0, 0.5, 1], [1 / 6, 4 / 6, 1 / 6]),
        (
            "gauss_lobatto",
            [0, 0.5 - 0.5 / math.sqrt(5), 0.5 + 0.5 / math.sqrt(5), 1],
            [1 / 12, 5 / 12, 5 / 12, 1 / 12],
        ),
        (
            "gauss_legendre",
            [0.5 - 0.5 * math.sqrt(0.6), 0.5, 0.5 + 0.5 * math.sqrt(0.6)],
            [5 / 18, 8 / 18, 5 / 18],
        ),
    ],
)
def test_nodes_and_weights_are_those_of_the_textbook(
    name: str, nodes: list[float], weights: list[float]
) -> None:
    rule = quadrature(name, len(nodes))
    assert rule.nodes.dtype == rule.weights.dtype == torch.float64
    assert rule.nodes.tolist() == pytest.approx(nodes, abs=1e-15)
    assert rule.weights.tolist() == pytest.approx(weights, abs=1e-15)


def test_all_rules_of_the_contract_are_there() -> None:
    assert set(RULES) == {
        "gauss_legendre",
        "gauss_lobatto",
        "riemann_left",
        "riemann_right",
        "riemann_midpoint",
        "trapezoid",
        "linspace",
    }


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 20])
def test_gauss_legendre_is_exact_up_to_degree_two_n_minus_one_and_no_further(n: int) -> None:
    rule = quadrature("gauss_legendre", n)
    for power in range(2 * n):
        assert integral(rule, power) == pytest.approx(1 / (power + 1), abs=1e-14)
    if n <= 5:  # beyond, the error falls below what float64 shows
        assert abs(integral(rule, 2 * n) - 1 / (2 * n + 1)) > 1e-7


@pytest.mark.parametrize("n", [2, 3, 4, 6, 20])
def test_gauss_lobatto_is_exact_up_to_degree_two_n_minus_three_and_no_further(n: int) -> None:
    rule = quadrature("gauss_lobatto", n)
    assert rule.nodes[[0, -1]].tolist() == [0, 1]
    for power in range(2 * n - 2):
        assert integral(rule, power) == pytest.approx(1 / (power + 1), abs=1e-14)
    if n <= 6:
        assert abs(integral(rule, 2 * n - 2) - 1 / (2 * n - 1)) > 1e-7


@pytest.mark.parametrize("name", PROPER)
@pytest.mark.parametrize("n", [2, 3, 7, 20])
def test_weights_of_proper_rules_sum_to_one(name: str, n: int) -> None:
    rule = quadrature(name, n)
    assert len(rule.nodes) == len(rule.weights) == n
    assert integral(rule, 0) == pytest.approx(1, abs=1e-14)
    assert (rule.nodes >= 0).all()
    assert (rule.nodes <= 1).all()
    assert (rule.nodes.diff() > 0).all()


@pytest.mark.parametrize(
    "name", ["trapezoid", "riemann_midpoint", "gauss_legendre", "gauss_lobatto"]
)
def test_symmetric_rules_are_exact_for_straight_lines(name: str) -> None:
    assert integral(quadrature(name, 20), 1) == pytest.approx(0.5, abs=1e-14)


def test_left_and_right_sums_lie_on_either_side_of_a_rising_function() -> None:
    assert integral(quadrature("riemann_left", 20), 1) == pytest.approx(0.5 - 1 / 40)
    assert integral(quadrature("riemann_right", 20), 1) == pytest.approx(0.5 + 1 / 40)


def test_trapezoid_sums_to_one_where_captums_sums_to_less() -> None:
    from captum.attr._utils.approximation_methods import approximation_parameters

    step_sizes, alphas = approximation_parameters("riemann_trapezoid")
    theirs, ours = step_sizes(20), quadrature("trapezoid", 20)
    assert sum(theirs) == pytest.approx(0.95)
    assert ours.weights.sum().item() == pytest.approx(1, abs=1e-14)
    assert ours.nodes.tolist() == pytest.approx(alphas(20), abs=1e-7)


@pytest.mark.parametrize("n", [1, 2, 10, 20])
def test_linspace_is_the_packages_grid_and_divisor(n: int) -> None:
    rule = quadrature("linspace", n)
    # knowledge_neurons 0.0.2: torch.linspace(start=0, end=1, steps=steps), then "/ steps".
    assert torch.equal(rule.nodes, torch.linspace(0, 1, n, dtype=torch.float64))
    assert rule.weights.tolist() == [1 / n] * n


def test_linspace_of_one_step_sees_the_path_at_zero_only() -> None:
    assert quadrature("linspace", 1).nodes.tolist() == [0.0]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("n", [0, -1])
def test_fewer_than_one_node_is_refused(name: str, n: int) -> None:
    with pytest.raises(InputError, match=rf"{n} nodes|2 nodes"):
        quadrature(name, n)


@pytest.mark.parametrize("name", ["trapezoid", "gauss_lobatto"])
def test_a_rule_without_its_both_ends_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="at least 2"):
        quadrature(name, 1)


@pytest.mark.parametrize("name", ["simpson", "", "Gauss_Legendre", "riemann"])
def test_an_unknown_rule_is_refused_with_the_known_ones_named(name: str) -> None:
    with pytest.raises(InputError, match="adaptive.*gauss_legendre.*linspace") as caught:
        quadrature(name, 5)
    assert repr(name) in str(caught.value)
    with pytest.raises(InputError, match="unknown rule"):
        check_rule(name, None, 0.01)


def test_adaptive_chooses_its_nodes_itself() -> None:
    check_rule("adaptive", None, 0.01)
    with pytest.raises(InputError, match="nodes=5"):
        check_rule("adaptive", 5, 0.01)
    with pytest.raises(InputError, match="adaptive"):
        quadrature("adaptive", 5)


@pytest.mark.parametrize("tolerance", [0.0, -0.1, float("nan"), float("inf")])
def test_a_tolerance_that_is_not_a_positive_number_is_refused(tolerance: float) -> None:
    with pytest.raises(InputError, match="tolerance"):
        check_rule("adaptive", None, tolerance)


ADAPTIVE_SIZES = {
    "loose": (LOOSE, [3, 5, 9, 32, 64]),
    "at 1 %": (0.01, [3, 5, 9, 32, 64]),
    "tight": (LOOSE * (1 - 1e-9), [4, 7, 13, 32, 64]),
    "default": (DEFAULT_TOLERANCE, [4, 7, 13, 32, 64]),
}


@pytest.mark.parametrize(("tolerance", "sizes"), ADAPTIVE_SIZES.values(), ids=ADAPTIVE_SIZES)
def test_adaptive_rules_grow_from_few_nodes_to_many(tolerance: float, sizes: list[int]) -> None:
    rules = adaptive_rules(tolerance)
    assert [len(rule.nodes) for rule in rules] == sizes
    for rule in rules:
        assert rule.nodes.dtype == rule.weights.dtype == torch.float64
        assert rule.nodes.shape == rule.weights.shape
        assert (rule.nodes.diff() > 0).all()
        assert (rule.weights > 0).all()
        assert rule.weights.sum().item() == pytest.approx(1, abs=1e-14)
        torch.testing.assert_close(rule.nodes.flip(0), 1 - rule.nodes, rtol=0, atol=1e-15)
        torch.testing.assert_close(rule.weights.flip(0), rule.weights, rtol=0, atol=1e-15)


@pytest.mark.parametrize("tolerance", [0.01, 0.001])
def test_the_first_three_adaptive_rules_share_their_nodes_to_the_bit(tolerance: float) -> None:
    # Slopes are kept by node: one that differed in its last bit would be computed again.
    few, more, most = (set(rule.nodes.tolist()) for rule in adaptive_rules(tolerance)[:3])
    assert {0.0, 1.0} < few < more < most


@pytest.mark.parametrize(
    ("tolerance", "degrees"), [(0.01, [3, 7, 13]), (0.001, [5, 9, 19])], ids=["loose", "tight"]
)
def test_nested_adaptive_rules_are_exact_up_to_their_degree_and_no_further(
    tolerance: float, degrees: list[int]
) -> None:
    for rule, degree in zip(adaptive_rules(tolerance)[:3], degrees, strict=True):
        on_both_sides = Quadrature(2 * rule.nodes - 1, rule.weights)  # [-1, 1] shows errors best
        errors = [
            integral(on_both_sides, power) - (power % 2 == 0) / (power + 1)
            for power in range(degree + 2)
        ]
        assert errors[:-1] == pytest.approx([0] * (degree + 1), abs=1e-14)
        assert abs(errors[-1]) > 1e-7


def test_adaptive_rules_begin_with_those_of_simpson_and_lobatto() -> None:
    loose, tight = adaptive_rules(0.01), adaptive_rules(0.001)
    assert loose[0].nodes.tolist() == [0, 0.5, 1]
    assert loose[0].weights.tolist() == pytest.approx([1 / 6, 4 / 6, 1 / 6])
    assert loose[1].nodes.tolist()[1] == pytest.approx((1 - math.sqrt(3 / 7)) / 2)
    assert loose[1].weights.tolist()[:3] == pytest.approx([1 / 20, 49 / 180, 16 / 45])
    assert tight[0].nodes.tolist()[1] == pytest.approx((1 - math.sqrt(1 / 5)) / 2)
    assert tight[0].weights.tolist()[:2] == pytest.approx([1 / 12, 5 / 12])
    # Gander and Gautschi's Kronrod extension, as their code has it on [-1, 1].
    by_hand = [77 / 1470, 432 / 1470, 625 / 1470, 672 / 1470]
    assert (2 * tight[1].weights).tolist()[:4] == pytest.approx(by_hand)
    for rules in (loose, tight):
        for rule in rules[3:]:
            gauss = quadrature("gauss_legendre", len(rule.nodes))
            assert torch.equal(rule.nodes, gauss.nodes)
            assert torch.equal(rule.weights, gauss.weights)
