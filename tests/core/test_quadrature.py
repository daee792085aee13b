"""Quadrature rules: nodes and weights by hand, what they integrate exactly, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from kn_lightning.core.quadrature import (
    ADAPTIVE_LEVELS,
    RULES,
    Quadrature,
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


@pytest.mark.parametrize("name", PROPER)
@pytest.mark.parametrize("n", [2, 3, 7, 20])
def test_weights_of_proper_rules_sum_to_one(name: str, n: int) -> None:
    rule = quadrature(name, n)
    assert len(rule.nodes) == len(rule.weights) == n
    assert integral(rule, 0) == pytest.approx(1, abs=1e-14)
    assert (rule.nodes >= 0).all()
    assert (rule.nodes <= 1).all()
    assert (rule.nodes.diff() > 0).all()


@pytest.mark.parametrize("name", ["trapezoid", "riemann_midpoint", "gauss_legendre"])
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


def test_a_trapezoid_without_both_ends_is_refused() -> None:
    with pytest.raises(InputError, match="at least 2"):
        quadrature("trapezoid", 1)


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


def test_adaptive_levels_ascend_so_that_each_is_finer() -> None:
    assert list(ADAPTIVE_LEVELS) == sorted(set(ADAPTIVE_LEVELS))
    assert ADAPTIVE_LEVELS[0] >= 1
