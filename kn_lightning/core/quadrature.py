"""Quadrature rules on [0, 1] as data: a rule's name and number of nodes -> nodes and weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kn_lightning.errors import InputError

ADAPTIVE = "adaptive"
ADAPTIVE_LEVELS = (3, 5, 10, 16, 32, 64)
"""Gauss-Legendre nodes that ``adaptive`` tries in turn, until completeness holds."""
DEFAULT_NODES = 20
"""Nodes of a fixed rule unless told: what the public codes use."""


class Quadrature(NamedTuple):
    """``integral of f over [0, 1] ~ (weights * f(nodes)).sum()``; both ``[S]`` float64."""

    nodes: Tensor
    weights: Tensor


def _equal(nodes: Tensor) -> Quadrature:
    return Quadrature(nodes, torch.full_like(nodes, 1 / len(nodes)))


def _gauss_legendre(n: int) -> Quadrature:
    nodes, weights = np.polynomial.legendre.leggauss(n)
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
    "riemann_left": _riemann_left,
    "riemann_right": _riemann_right,
    "riemann_midpoint": _riemann_midpoint,
    "trapezoid": _trapezoid,
    "linspace": _linspace,
}
"""The fixed rules. ``riemann_right`` is the paper's formula, ``riemann_left`` Dai et al.'s code."""


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
    if rule != ADAPTIVE:
        quadrature(rule, DEFAULT_NODES if nodes is None else nodes)
    elif nodes is not None:
        raise InputError(
            f"rule 'adaptive' chooses its nodes by the tolerance: drop nodes={nodes},"
            f" or name a fixed rule ({', '.join(RULES)})"
        )
