"""Curves of concepts → the steps at which something holds for the first time, or from then on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kn_lightning.formation_tables import concept_sets, rows_at
from kn_lightning.report.statistics import (
    MIN_N,
    mean_interval,
    median_interval,
    signed_rank,
)

FIRST, LASTING = "first", "lasting"
"""The first step at which something holds; the one from which on it holds at all later ones."""
HALF = 0.5
SHARES = (0.1, 0.25, HALF)
"""Shares of its last value that a probability is said to have risen at; half is the report's."""

Flags = npt.NDArray[np.bool_]
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Holds:
    """At which of S measured steps something holds for a concept.

    Attributes:
        steps: S training steps, ascending.
        risen: by each of ``SHARES``, then by concept whose probability at the last step isn't 0:
            ``[S]``, its probability exceeds that share of it.
        neurons: ``[S]`` by concept that has neurons at the last step: half of these are there.
        layers: by layer, then by concept that has neurons there at the last step: ``[S]``, the
            share of these that is there.
    """

    steps: list[int]
    risen: dict[float, dict[str, Flags]]
    neurons: dict[str, Flags]
    layers: list[dict[str, Shares]]

    @property
    def probability(self) -> dict[str, Flags]:
        """Where half of its last is exceeded."""
        return self.risen[HALF]


def held_shares(concepts: pd.DataFrame, neurons: pd.DataFrame, n_layers: int) -> Holds:
    """From the tables of a formation study."""
    steps = [int(step) for step in sorted(concepts["step"].unique())]
    names = list(dict.fromkeys(concepts["concept"]))
    table = concepts.pivot(index="concept", columns="step", values="probability")
    values = {name: table.loc[name, steps].to_numpy(float) for name in names}
    risen = {
        share: {name: own > share * own[-1] for name, own in values.items() if own[-1] > 0}
        for share in SHARES
    }

    last = rows_at(concepts, steps[-1])

    def shares(own: pd.DataFrame) -> dict[str, Shares]:
        """Of a concept's neurons among these at the last step: how many of them are there."""
        sets = concept_sets(concepts, own)
        sizes = np.diff(sets.indptr)[last]
        known = sizes > 0
        there = sets.multiply(sets[last]).sum(axis=1)[known] / sizes[known]
        rows = concepts.loc[known, ["concept", "step"]].assign(there=there)
        found = rows.pivot(index="concept", columns="step", values="there")
        return {n: found.loc[n, steps].to_numpy(float) for n in names if n in found.index}

    layers = [shares(neurons[neurons["layer"] == layer]) for layer in range(n_layers)]
    half = {name: own >= HALF for name, own in shares(neurons).items()}
    return Holds(steps, risen, half, layers)


def place(holds: Flags, kind: str) -> int:
    """The number of the step, which is there at the last at the latest."""
    if kind == FIRST:
        return int(holds.argmax())
    fails = np.flatnonzero(~holds)
    return int(fails[-1]) + 1 if len(fails) else 0


def timing(
    holds: dict[str, Flags], names: list[str], steps: list[int], kind: str
) -> dict[str, Any]:
    """Where the middle concept stands, and how many can't be dated.

    Args:
        holds: ``[S]`` by concept.
        names: of the concepts that are counted; those without an entry are left out.
        steps: S training steps.
        kind: ``first`` or ``lasting``.

    Returns:
        ``n``; ``n_left_censored``, for whom it held at the first step already, counted there;
        ``n_at_last``, for whom it held at the last step alone; ``median`` step with its bootstrap
        ``interval`` over concepts, and the quartiles.
    """
    places = np.array([place(holds[name], kind) for name in names if name in holds], dtype=int)
    at = np.array(steps, dtype=float)[places]
    low, middle, high = np.percentile(at, [25, 50, 75]).tolist() if len(at) else (None,) * 3
    return {
        "n": len(at),
        "n_left_censored": int((places == 0).sum()),
        "n_at_last": int((places == len(steps) - 1).sum()),
        "p25": low,
        "median": middle,
        "p75": high,
        "interval": median_interval(at) if len(at) else None,
        "up_to": [float((places <= number).mean()) for number in range(len(steps))]
        if len(at)
        else [],
    }


def order(held: Holds, kind: str, share: float = HALF) -> dict[str, Any]:
    """Whether a concept's neurons are there before or after its probability has risen, paired.

    Where one of both is left-censored, and the other isn't, it came first, by an unknown number of
    steps: such a concept counts as before or after and is left out of the test. Where both are,
    nothing is known.

    Args:
        held: of all concepts.
        kind: ``first`` or ``lasting``.
        share: of its last value that counts as a risen probability. The order depends on it:
            the lower, the earlier.
    """
    risen = held.risen[share]
    names = [name for name in risen if name in held.neurons]
    pairs = np.array(
        [(place(held.neurons[n], kind), place(risen[n], kind)) for n in names], dtype=int
    ).reshape(-1, 2)
    unknown = (pairs == 0).all(1)
    dated = (pairs > 0).all(1)
    sign = np.sign(pairs[:, 0] - pairs[:, 1])[~unknown]
    steps = np.array(held.steps, dtype=float)
    differences = steps[pairs[dated, 0]] - steps[pairs[dated, 1]]
    n = len(differences)
    return {
        "n": len(names),
        "n_both_left_censored": int(unknown.sum()),
        "n_one_left_censored": int((~unknown & ~dated).sum()),
        "n_neurons_before": int((sign < 0).sum()),
        "n_same_step": int((sign == 0).sum()),
        "n_neurons_after": int((sign > 0).sum()),
        "n_dated": n,
        "mean_difference": float(differences.mean()) if n else None,
        "interval": mean_interval(differences) if n else None,
        "median_difference": float(np.median(differences)) if n else None,
        "median_interval": median_interval(differences) if n else None,
        "test": asdict(signed_rank(differences)) if n >= MIN_N else None,
    }
