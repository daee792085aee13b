"""What attribution and edits need of an encoder, and the records that they exchange with it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from kn_lightning.core.edits import RowEdits
from kn_lightning.core.probabilities import AnswerStatistics


@dataclass(frozen=True)
class TokenBatch:
    """Padded prompts of M masks each.

    Attributes:
        input_ids: ``[B, T]``.
        attention_mask: ``[B, T]``.
        mask_positions: ``[B, M]``, ascending.
        answers: the tokens that belong there, ``[B, M]``.
    """

    input_ids: Tensor
    attention_mask: Tensor
    mask_positions: Tensor
    answers: Tensor

    def rows(self, prompt: Tensor) -> TokenBatch:
        """The rows that belong to the prompts ``[R]``."""
        return TokenBatch(*(getattr(self, part.name)[prompt] for part in fields(self)))


@dataclass(frozen=True)
class BasePass:
    """The untouched encoder at the masks.

    Attributes:
        batch: the prompts.
        activations: ``[B, L, M, I]``, the neurons.
        statistics: of the answers.
        end_gradient: ``[B, L, M, D]``, the slope of P at the end of each layer's path, where it was
            asked for.
    """

    batch: TokenBatch
    activations: Tensor
    statistics: AnswerStatistics
    end_gradient: Tensor | None


class Places(tuple[Tensor, Tensor]):
    """Pairs (prompt, layer) as two index tensors ``[N]``, ordered by prompt."""

    __slots__ = ()

    @classmethod
    def where(cls, mask: Tensor) -> Places:
        """The places at which ``mask`` ``[B, L]`` is true."""
        return cls(mask.nonzero(as_tuple=True))


class Points(NamedTuple):
    """Points on the paths of places: prompt, layer and node (from 0 to 1), all ``[R]``."""

    prompt: Tensor
    layer: Tensor
    node: Tensor

    @classmethod
    def of(cls, places: Places, node: float, dtype: torch.dtype = torch.float64) -> Points:
        """One point for each place; ``dtype`` is the node's, for devices without float64."""
        return cls(*places, torch.full_like(places[0], node, dtype=dtype))


class Slope(NamedTuple):
    """P ``[R]`` at points, and its gradient ``[R, M, D]`` in the forward's own coordinates."""

    probability: Tensor
    gradient: Tensor


Base = TypeVar("Base", bound=BasePass)


class Forward(Protocol[Base]):
    """What attribution and edits need of an encoder."""

    def base(self, batch: TokenBatch, with_slope: bool = False) -> Base:
        """Run the untouched encoder; one backward gives the slope at the end of all paths."""
        ...

    def slope(self, base: Base, points: Points) -> Slope:
        """P and its gradient where all neurons of a layer are ``node`` times what they were."""
        ...

    def neuron_gradient(self, base: Base, places: Places, gradient: Tensor) -> Tensor:
        """A gradient ``[N, M, D]`` at places, by their neurons: ``[N, M, I]``."""
        ...

    def scaled_probability(self, base: Base, places: Places, factor: float) -> Tensor:
        """``[N]``: P with all neurons of each place times ``factor``, without gradients."""
        ...

    def edited_statistics(self, base: Base, prompt: Tensor, edits: RowEdits) -> AnswerStatistics:
        """Of R rows, each a prompt ``[R]`` of the base pass with its own neurons edited."""
        ...

    def ablated_probability(self, base: Base, places: Places, neuron: Tensor) -> Tensor:
        """``[N]``: P with the single neuron ``neuron[n]`` of each place at 0, without gradients."""
        ...
