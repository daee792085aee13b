"""A base pass over prompts -> integrated gradients of the answer's probability in every neuron.

How rows with changed neurons are computed is the encoder's affair (:class:`Forward`); which rows
are needed, and what is made of them, is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from kn_lightning.core.probabilities import answer_statistics
from kn_lightning.core.quadrature import (
    ADAPTIVE,
    ADAPTIVE_LEVELS,
    DEFAULT_NODES,
    Quadrature,
    quadrature,
)
from kn_lightning.schema import Attribution


@dataclass(frozen=True)
class TokenBatch:
    """Padded prompts: input ids and attention mask ``[B, T]``, mask position and answer ``[B]``."""

    input_ids: Tensor
    attention_mask: Tensor
    mask_position: Tensor
    answer: Tensor


@dataclass(frozen=True)
class BasePass:
    """The untouched encoder at the mask: activations ``[B, L, I]`` and logits ``[B, V]``."""

    batch: TokenBatch
    activations: Tensor
    logits: Tensor


class Places(tuple[Tensor, Tensor]):
    """Pairs (prompt, layer) as two index tensors ``[N]``, ordered by prompt."""

    __slots__ = ()

    @classmethod
    def where(cls, mask: Tensor) -> Places:
        """The places at which ``mask`` ``[B, L]`` is true."""
        return cls(mask.nonzero(as_tuple=True))


Base = TypeVar("Base", bound=BasePass)


class Forward(Protocol[Base]):
    """What attribution needs of an encoder."""

    def base(self, batch: TokenBatch) -> Base:
        """Run the untouched encoder."""
        ...

    def integrated_gradient(self, base: Base, places: Places, rule: Quadrature) -> Tensor:
        """``[N, I]`` float32: sum over the rule of weight * dP/dw at node * w, for each place."""
        ...

    def scaled_probability(self, base: Base, places: Places, factor: float) -> Tensor:
        """``[N]``: P with all neurons of each place times ``factor``, without gradients."""
        ...

    def ablated_probability(self, base: Base, places: Places, neuron: Tensor) -> Tensor:
        """``[N]``: P with the single neuron ``neuron[n]`` of each place at 0, without gradients."""
        ...


def layer_attribution(
    forward: Forward[Base],
    base: Base,
    rule: str = ADAPTIVE,
    nodes: int | None = None,
    tolerance: float = 0.01,
) -> Attribution:
    """Attribution where all neurons of a layer grow from 0 together (``path=layer``).

    Args:
        forward: the encoder.
        base: its base pass over B prompts.
        rule: ``adaptive``, or a fixed rule of :mod:`~kn_lightning.core.quadrature`.
        nodes: of a fixed rule; 20 unless told.
        tolerance: of ``adaptive``: a (prompt, layer) goes up a level while its residual of
            completeness exceeds this share of the prompt's largest total over layers.
    """
    statistics = answer_statistics(base.logits, base.batch.answer)
    n_prompts, n_layers, _ = base.activations.shape
    pending = torch.ones(n_prompts, n_layers, dtype=torch.bool, device=base.activations.device)
    at_zero = forward.scaled_probability(base, Places.where(pending), 0.0)
    total = statistics.probability[:, None] - at_zero.view(n_prompts, n_layers)
    largest_total = total.abs().amax(1, keepdim=True)

    # Below this the residual is rounding, and more nodes don't help: logits of half precision carry
    # an error of a few units in their last place into P.
    noise = 8 * torch.finfo(base.logits.dtype).eps * statistics.probability[:, None]
    accepted = torch.maximum(tolerance * largest_total, noise)

    scores = torch.zeros_like(
        base.activations, dtype=torch.promote_types(total.dtype, torch.float32)
    )
    evaluations = torch.zeros_like(pending, dtype=torch.long)
    residual = -total
    levels = (
        [quadrature("gauss_legendre", level) for level in ADAPTIVE_LEVELS]
        if rule == ADAPTIVE
        else [quadrature(rule, DEFAULT_NODES if nodes is None else nodes)]
    )
    for level in levels:
        places = Places.where(pending)
        if not len(places[0]):
            break
        gradient = forward.integrated_gradient(base, places, level)
        scores[places] = base.activations[places].to(scores.dtype) * gradient
        evaluations[places] += len(level.nodes)
        residual = scores.sum(-1) - total
        pending = residual.abs() > accepted
    return Attribution(
        scores, total, residual, statistics.probability, evaluations,
        statistics.rank, statistics.argmax, statistics.log_odds,
        base.activations.to(scores.dtype),
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
    ablated = forward.ablated_probability(base, Places((prompt, layer)), neuron)
    scores = torch.zeros_like(selection.scores)
    scores[prompt, layer, neuron] = (selection.probability[prompt] - ablated).to(scores.dtype)
    evaluations = selection.evaluations.clone()
    evaluations.index_put_((prompt, layer), torch.ones_like(prompt), accumulate=True)
    return Attribution(
        scores, selection.total, selection.residual, selection.probability, evaluations,
        selection.rank, selection.argmax, selection.log_odds, selection.activations,
    )  # fmt: skip
