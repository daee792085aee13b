"""A base pass over prompts -> integrated gradients of the answer's probability in every neuron.

How rows with changed neurons are computed is the encoder's affair
(:class:`~kn_lightning.core.forward.Forward`); which rows are needed, and what is made of them, is
decided here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache, reduce
from typing import Generic

import torch
from torch import Tensor

from kn_lightning.core.baselines import ablation_effect
from kn_lightning.core.forward import Base, Forward, Places, Points
from kn_lightning.core.quadrature import (
    ADAPTIVE,
    DEFAULT_NODES,
    Quadrature,
    adaptive_rules,
    quadrature,
)
from kn_lightning.schema import Attribution

_TOGETHER = 16
"""Points of a path that are computed together on average, whatever the rule's nodes."""


class _Path(Generic[Base]):
    """Slopes along the paths of all layers, each computed once however many rules ask for it.

    Those of a node that one rule alone has are summed up and forgotten.
    """

    def __init__(self, forward: Forward[Base], base: Base, rules: Sequence[Quadrature]) -> None:
        self._forward, self._base = forward, base
        nodes = Counter(node for rule in rules for node in rule.nodes.tolist())
        self._shared = {node for node, count in nodes.items() if count > 1}
        self._everywhere = torch.ones_like(base.activations[..., 0, 0], dtype=torch.bool)
        self._passing = torch.zeros_like(self._everywhere, dtype=torch.long)
        self._gradient: dict[float, Tensor] = {}
        self._known: dict[float, Tensor] = {}
        if base.end_gradient is not None:
            self._gradient[1.0], self._known[1.0] = base.end_gradient, self._everywhere

    def probability_at_zero(self, rule: Quadrature) -> Tensor:
        """P ``[B, L]`` without the layer's neurons; with its slope where ``rule`` has that node."""
        places = Places.where(self._everywhere)
        if 0.0 in rule.nodes:
            probability, gradient = self._forward.slope(self._base, self._points(places, 0.0))
            self._gradient[0.0] = gradient.unflatten(0, self._everywhere.shape)
            self._known[0.0] = self._everywhere
        else:
            probability = self._forward.scaled_probability(self._base, places, 0.0)
        return probability.view_as(self._everywhere)

    def integral(self, rule: Quadrature, places: Tensor) -> Tensor:
        """``[N, M, I]``: sum of weight * dP/dw at node over the rule, at ``places`` ``[B, L]``."""
        weights = dict(zip(*map(Tensor.tolist, rule), strict=True))
        kept = [node for node in weights if node in self._shared or node in self._known]
        passing = {node: weight for node, weight in weights.items() if node not in kept}
        self._extend(kept, places)
        chosen = Places.where(places)
        parts = [weights[node] * self._gradient[node][chosen] for node in kept]
        if passing:
            parts.append(self._summed(passing, chosen))
            self._passing += len(passing) * places
        return self._forward.neuron_gradient(self._base, chosen, reduce(torch.add, parts))

    def _summed(self, weights: dict[float, float], places: Places) -> Tensor:
        """``[N, M, D]``: sum of weight * slope over nodes, some places at a time."""
        found: list[Tensor] = []
        size = max(1, _TOGETHER * self._everywhere.numel() // len(weights))
        for some in zip(*(part.split(size) for part in places), strict=True):
            points = [self._points(Places(some), node) for node in weights]
            joined = Points(*map(torch.cat, zip(*points, strict=True)))
            gradient = self._forward.slope(self._base, joined).gradient
            parts = gradient.unflatten(0, (len(weights), -1))
            # No matrix product, which autocast would do in half precision.
            weighted = zip(weights.values(), parts, strict=True)
            found.append(reduce(torch.add, (weight * part for weight, part in weighted)))
        return torch.cat(found)

    def _points(self, places: Places, node: float) -> Points:
        return Points.of(places, node, self._base.statistics.probability.dtype)

    def _extend(self, nodes: Sequence[float], places: Tensor) -> None:
        missing = {node: places & ~self._known.get(node, ~self._everywhere) for node in nodes}
        parts = [self._points(Places.where(mask), node) for node, mask in missing.items()]
        sizes = [len(part.prompt) for part in parts]
        if not sum(sizes):
            return
        points = Points(*map(torch.cat, zip(*parts, strict=True)))
        gradient = self._forward.slope(self._base, points).gradient
        for (node, mask), part in zip(missing.items(), gradient.split(sizes), strict=True):
            if node not in self._known:
                self._known[node] = torch.zeros_like(mask)
                self._gradient[node] = part.new_zeros(*mask.shape, *part.shape[1:])
            self._known[node] = self._known[node] | mask
            self._gradient[node][mask] = part

    def evaluations(self) -> Tensor:
        """Slopes known of each path, ``[B, L]``."""
        return sum(self._known.values(), self._passing)


@cache  # every base pass asks, and finding the nodes of 64 takes as long as a small one
def path_rules(rule: str, nodes: int | None, tolerance: float) -> tuple[Quadrature, ...]:
    """The rules to be tried in turn: one, or those of ``adaptive``."""
    if rule == ADAPTIVE:
        return tuple(adaptive_rules(tolerance))
    return (quadrature(rule, DEFAULT_NODES if nodes is None else nodes),)


def layer_attribution(
    forward: Forward[Base], base: Base, rules: Sequence[Quadrature], tolerance: float = 0.0
) -> Attribution:
    """Attribution where all neurons of a layer grow from 0 together (``path=layer``).

    Args:
        forward: the encoder.
        base: its base pass over B prompts.
        rules: of :func:`path_rules`; a (prompt, layer) goes on to the next while its residual of
            completeness exceeds half the tolerance.
        tolerance: relative error of a prompt's scores, as a share of the prompt's largest total
            over layers. The residual is twice the error in the median and less in some, so it is
            held to the half.
    """
    statistics = base.statistics
    path = _Path(forward, base, rules)
    total = statistics.probability[:, None] - path.probability_at_zero(rules[0])

    # Below this the residual is rounding, and more nodes don't help: hidden states of half
    # precision carry an error of a few units in their last place into P.
    noise = 4 * torch.finfo(base.activations.dtype).eps * statistics.probability[:, None]
    accepted = torch.maximum(tolerance / 2 * total.abs().amax(1, keepdim=True), noise)

    activations = base.activations.to(torch.promote_types(total.dtype, torch.float32))
    scores = torch.zeros_like(activations[:, :, 0])
    residual = -total
    # Behind the last layer there is but the head: its paths bend most and cost least, so they
    # start one rule further.
    late = torch.zeros_like(total, dtype=torch.bool)
    late[:, -1] = len(rules) > 1
    pending = ~late
    for rule in rules:
        if pending.any():
            # All masks move together: a neuron's score is the sum of what it does at each.
            scores[pending] = (activations[pending] * path.integral(rule, pending)).sum(1)
            residual = scores.sum(-1) - total
        pending = late | (residual.abs() > accepted)
        late = torch.zeros_like(late)
        if not pending.any():
            break
    return Attribution(
        scores, total, residual, statistics.probability, path.evaluations(),
        statistics.rank, statistics.argmax, statistics.log_odds,
        activations.mean(2),
    )  # fmt: skip


def neuron_attribution(
    forward: Forward[Base], base: Base, selection: Attribution, candidates: int
) -> Attribution:
    """Exact effect of ablating each of a prompt's best neurons alone (``path=neuron``).

    Eq. 1-2 read literally move one neuron at a time; the integral then is P(w) - P(w_i := 0),
    which one forward row gives without any quadrature.

    Args:
        forward: the encoder.
        base: its base pass.
        selection: :func:`layer_attribution` of the same prompts; the ``candidates`` largest scores
            of each prompt are replaced by the exact effect, all others by 0.
        candidates: neurons of each prompt.

    Returns:
        ``selection`` with its scores replaced and one evaluation counted for each candidate.
        ``total`` and ``residual`` remain those of the layer's path: single effects need not add up
        to anything.
    """
    n_prompts, n_layers, n_neurons = selection.scores.shape
    candidates = min(candidates, n_layers * n_neurons)
    flat = selection.scores.flatten(1).topk(candidates, dim=1).indices.sort(1).values
    prompt = torch.arange(n_prompts, device=flat.device).repeat_interleave(candidates)
    layer, neuron = flat.flatten() // n_neurons, flat.flatten() % n_neurons
    effects = ablation_effect(forward, base, prompt * n_layers * n_neurons + flat.flatten())
    scores = torch.zeros_like(selection.scores)
    scores[prompt, layer, neuron] = effects.to(scores.dtype)
    evaluations = selection.evaluations.clone()
    evaluations.index_put_((prompt, layer), torch.ones_like(prompt), accumulate=True)
    return Attribution(
        scores, selection.total, selection.residual, selection.probability, evaluations,
        selection.rank, selection.argmax, selection.log_odds, selection.activations,
    )  # fmt: skip
