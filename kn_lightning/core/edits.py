"""Refined neurons -> sparse edits of many rows at the mask, and random controls."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kn_lightning.schema import Neuron


class RowEdits(NamedTuple):
    """Sparse edits of R rows, all ``[K]``.

    In row ``row[k]``, the activation of ``(layer[k], neuron[k])`` is multiplied by ``factor[k]``.
    A neuron stands once for a row, however often it was named: it is changed once.
    """

    row: Tensor
    layer: Tensor
    neuron: Tensor
    factor: Tensor

    def of_layer(self, layer: int) -> RowEdits:
        """The edits in one layer."""
        here = self.layer == layer
        return RowEdits(*(column[here] for column in self))

    def of_rows(self, rows: Tensor, n_rows: int) -> RowEdits:
        """The edits of some of R rows, which are counted anew.

        Args:
            rows: their numbers, ``[N]``.
            n_rows: R.
        """
        place = torch.full((n_rows,), -1, device=self.row.device)
        place[rows] = torch.arange(len(rows), device=self.row.device)
        mine = place[self.row] >= 0
        return RowEdits(place[self.row[mine]], *(column[mine] for column in self[1:]))


def edit_name(factor: float) -> str:
    """Name of an edit in the tables: suppress (0), amplify (2), or ``factor:x``."""
    return {0.0: "suppress", 2.0: "amplify"}.get(float(factor), f"factor:{factor:.12g}")


def row_edits(rows: Iterable[tuple[Sequence[Neuron], float]]) -> RowEdits:
    """The edits of consecutive rows, each given as its neurons and their factor."""
    # Many rows share one list of neurons: it is taken apart once.
    known: dict[int, tuple[Sequence[Neuron], Tensor]] = {}
    pairs, counts, factors = [], [], []
    for neurons, factor in rows:
        if id(neurons) not in known:
            entries = torch.tensor(list(dict.fromkeys(neurons)), dtype=torch.long).view(-1, 2)
            known[id(neurons)] = (neurons, entries)
        pairs.append(known[id(neurons)][1])
        counts.append(len(pairs[-1]))
        factors.append(factor)
    number = torch.tensor(counts, dtype=torch.long)
    entries = torch.cat([*pairs, torch.empty(0, 2, dtype=torch.long)])
    return RowEdits(
        row=torch.arange(len(number)).repeat_interleave(number),
        layer=entries[:, 0],
        neuron=entries[:, 1],
        factor=torch.tensor(factors, dtype=torch.float32).repeat_interleave(number),
    )


def seeded_generator(*words: object) -> np.random.Generator:
    """A random generator that depends on the words alone: not on ranks, batches or hash seeds."""
    digest = hashlib.sha256("\0".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def held_out(concept: str, n_prompts: int, share: float, seed: int) -> Tensor:
    """Which of a concept's prompts ``[n_prompts]`` refinement leaves to evaluation.

    At least one prompt stays on either side where a share above 0 is asked of two prompts or more;
    a single prompt is never held out.
    """
    chosen = torch.zeros(n_prompts, dtype=torch.bool)
    if share > 0 and n_prompts > 1:
        count = min(max(round(share * n_prompts), 1), n_prompts - 1)
        order = seeded_generator(seed, "holdout", concept).permutation(n_prompts)
        chosen[order[:count].tolist()] = True
    return chosen


def most_active_neurons(neurons: Sequence[Neuron], activations: Tensor) -> list[Neuron]:
    """Control: as many neurons in each layer as ``neurons`` has there, the most active ones.

    These are what one would edit without any attribution (the baseline of Dai et al. 2021), and
    may be among ``neurons``.

    Args:
        neurons: the neurons to be matched.
        activations: ``[B, L, I]`` of the concept's prompts; a neuron's activity is the mean of |w|.
    """
    activity = activations.abs().mean(0)
    chosen: list[Neuron] = []
    for layer, count in sorted(Counter(neuron.layer for neuron in set(neurons)).items()):
        indices = activity[layer].topk(count).indices.sort().values
        chosen += [Neuron(layer, index) for index in indices.tolist()]
    return chosen


def random_neurons(
    neurons: Sequence[Neuron], n_neurons: int, generator: np.random.Generator
) -> list[Neuron]:
    """Control: as many other neurons in each layer as ``neurons`` has there, without repetition.

    Args:
        neurons: the neurons to be matched; none of them is drawn.
        n_neurons: neurons a layer has.
        generator: source of randomness.
    """
    drawn: list[Neuron] = []
    for layer, count in sorted(Counter(neuron.layer for neuron in set(neurons)).items()):
        taken = [neuron.neuron for neuron in neurons if neuron.layer == layer]
        free = np.delete(np.arange(n_neurons), taken)
        indices = generator.choice(free, size=min(count, len(free)), replace=False)
        drawn += [Neuron(layer, int(index)) for index in np.sort(indices)]
    return drawn


def matched_neurons(
    neurons: Sequence[Neuron], n_neurons: int, generator: np.random.Generator
) -> list[Neuron]:
    """Control: for each neuron, in this order, another one of its layer, without repetition.

    So the first k of them have the layers of the first k of ``neurons``, for every k.

    Args:
        neurons: the neurons to be matched; none of them is drawn.
        n_neurons: neurons a layer has; at least twice as many as ``neurons`` has in any layer.
        generator: source of randomness.
    """
    drawn: dict[int, Iterator[int]] = {}
    for layer in sorted({neuron.layer for neuron in neurons}):
        taken = [neuron.neuron for neuron in neurons if neuron.layer == layer]
        free = np.delete(np.arange(n_neurons), taken)
        drawn[layer] = iter(generator.choice(free, size=len(taken), replace=False).tolist())
    return [Neuron(layer, next(drawn[layer])) for layer, _ in neurons]
