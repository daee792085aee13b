"""Quadrature rules on [0, 1] as data: a rule's name and number of nodes -> nodes and weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kn_lightning.errors import InputError

ADAPTIVE = "adaptive"
DEFAULT_TOLERANCE = 0.001
"""Relative error at which coarse neurons are those of 64 nodes for 99 % of prompts and more."""
LOOSE = 0.01
"""From this tolerance on, ``adaptive`` starts with three nodes instead of four."""
DEFAULT_NODES = 20
"""Nodes of a fixed rule unless told: what the public codes use."""
MOST_NODES = 10_000
"""With more, scores differ by rounding alone, and the nodes themselves fill the memory."""


class Quadrature(NamedTuple):
    """``integral of f over [0, 1] ~ (weights * f(nodes)).sum()``; both ``[S]`` float64."""

    nodes: Tensor
    weights: Tensor


def _equal(nodes: Tensor) -> Quadrature:
    return Quadrature(nodes, torch.full_like(nodes, 1 / len(nodes)))


def _gauss_legendre(n: int) -> Quadrature:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return Quadrature(torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2))


def _gauss_lobatto(n: int) -> Quadrature:
    if n < 2:
        raise InputError("rule 'gauss_lobatto' needs both ends of the path: give at least 2 nodes")
    last = np.polynomial.legendre.Legendre.basis(n - 1)
    nodes = np.array([-1.0, *last.deriv().roots(), 1.0])
    weights = 2 / (n * (n - 1) * last(nodes) ** 2)
    return Quadrature(torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2))


def _riemann_left(n: int) -> Quadrature:
    return _equal(torch.arange(n, dtype=torch.float64) / n)


def _riemann_right(n: int) -> Quadrature:
    return _equal(torch.arange(1, n + 1, dtype=torch.float64) / n)


def _riemann_midpoint(n: int) -> Quadrature:
    return _equal((torch.arange(n, dtype=torch.float64) + 0.5) / n)


def _trapezoid(n: int) -> Quadrature:
    if n < 2:
        raise InputError("rule 'trapezoid' needs both ends of the path: give at least 2 nodes")
    weights = torch.full((n,), 1 / (n - 1), dtype=torch.float64)
    weights[[0, -1]] /= 2
    return Quadrature(torch.linspace(0, 1, n, dtype=torch.float64), weights)


def _linspace(n: int) -> Quadrature:
    # Not a proper rule: n nodes that are 1/(n-1) apart, weighted 1/n. It is what the PyPI package
    # knowledge-neurons and the paper's own code compute, kept so that their numbers can be had.
    return _equal(torch.linspace(0, 1, n, dtype=torch.float64))


RULES: dict[str, Callable[[int], Quadrature]] = {
    "gauss_legendre": _gauss_legendre,
    "gauss_lobatto": _gauss_lobatto,
    "riemann_left": _riemann_left,
    "riemann_right": _riemann_right,
    "riemann_midpoint": _riemann_midpoint,
    "trapezoid": _trapezoid,
    "linspace": _linspace,
}
"""The fixed rules. ``riemann_right`` is the paper's formula, ``riemann_left`` Dai et al.'s code."""

# Both ends are cheap, so that these rules have both: the gradient at 1 is the untouched encoder's,
# one backward for all layers, and at 0 the probability is needed anyway. Each rule holds the nodes
# of the one before: Gauss-Lobatto rules and their Kronrod extensions, as halves of [-1, 1].
_LOBATTO_3 = (0.0, 1.0)
_LOBATTO_5 = (*_LOBATTO_3, (3 / 7) ** 0.5)
_LOBATTO_5_KRONROD = (*_LOBATTO_5, 0.8904055275126719, 0.3409822659109812)
_LOBATTO_4 = (5**-0.5, 1.0)
_LOBATTO_4_KRONROD = (*_LOBATTO_4, 0.0, (2 / 3) ** 0.5)
# Gander and Gautschi (2000), "Adaptive quadrature - revisited".
_LOBATTO_13 = (*_LOBATTO_4_KRONROD, 0.942882415695480, 0.641853342345781, 0.236383199662150)


def _interpolatory(half: tuple[float, ...]) -> Quadrature:
    """The rule at the nodes +-``half`` of [-1, 1], exact for polynomials as far as they allow."""
    nodes = np.unique([*half, *(-node for node in half if node)])
    moments = np.zeros(len(nodes))
    moments[0] = 2  # Legendre polynomials but the first integrate to 0
    weights = np.linalg.solve(np.polynomial.legendre.legvander(nodes, len(nodes) - 1).T, moments)
    return Quadrature(torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2))


def adaptive_rules(tolerance: float) -> list[Quadrature]:
    """The rules that ``adaptive`` tries in turn, until completeness holds.

    The first three share their nodes; what still bends then gets Gauss-Legendre's rules.
    """
    nested = (
        (_LOBATTO_3, _LOBATTO_5, _LOBATTO_5_KRONROD)
        if tolerance >= LOOSE
        else (_LOBATTO_4, _LOBATTO_4_KRONROD, _LOBATTO_13)
    )
    return [*map(_interpolatory, nested), _gauss_legendre(32), _gauss_legendre(64)]


def quadrature(rule: str, nodes: int) -> Quadrature:
    """Nodes and weights of a fixed rule on [0, 1].

    Raises:
        InputError: the rule is unknown, or has no form with so many nodes.
    """
    if rule not in RULES:
        raise InputError(f"unknown rule {rule!r}: choose one of {', '.join([ADAPTIVE, *RULES])}")
    if nodes < 1:
        raise InputError(f"rule {rule!r} with {nodes} nodes: give at least 1")
    return RULES[rule](nodes)


def check_rule(rule: str, nodes: int | None, tolerance: float) -> None:
    """Raise InputError unless the three settings go together."""
    if not (0 < tolerance < float("inf")):
        raise InputError(f"tolerance {tolerance}: give a positive number such as 0.01")
    if nodes is not None and nodes > MOST_NODES:
        raise InputError(f"nodes {nodes}: give at most {MOST_NODES}")
    if rule != ADAPTIVE:
        quadrature(rule, DEFAULT_NODES if nodes is None else nodes)
    elif nodes is not None:
        raise InputError(
            f"rule 'adaptive' chooses its nodes by the tolerance: drop nodes={nodes},"
            f" or name a fixed rule ({', '.join(RULES)})"
        )
