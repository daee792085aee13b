"""What stands above the layers: the model's own head, then its vocabulary summed up in blocks."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kn_lightning.core.forward import TokenBatch
from kn_lightning.core.probabilities import (
    AnswerStatistics,
    Decoder,
    answer_probability,
    answer_statistics,
    decoded_probability,
    decoded_statistics,
    joint_probability,
    joint_statistics,
)
from kn_lightning.encoders.calls import LayerCall
from kn_lightning.encoders.hooked import at_masks
from kn_lightning.encoders.surgery import Reached, replaced_forward, with_hidden

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder


class Head:
    """From the last layer's hidden states to the answer's probability.

    Args:
        encoder: an encoder with verified traits.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        decoder = encoder.traits.decoder
        self._decoder = None if decoder is None else Decoder(decoder.weight, decoder.bias)

    def features(self, calls: list[LayerCall], batch: TokenBatch, hidden: Tensor) -> Tensor:
        """What the decoder is given at the masks ``[R, M, D]``; without one, logits ``[R, M, V]``.

        The model runs once more, its layers giving ``hidden``, and in its own precision: rounding
        to half precision would be felt in every probability.

        Args:
            calls: of a base pass.
            batch: its rows, one for each of ``hidden``.
            hidden: the last layer's, ``[R, T, H]``; with a positionwise head ``[R, M, H]``.
        """
        decoder = self._encoder.traits.decoder
        if self._encoder.traits.positionwise_head:
            batch = batch.rows(torch.zeros_like(batch.answers[:1, 0]))
        hidden = hidden.to(self._encoder.model.dtype)

        def stop(features: Tensor) -> None:
            raise Reached(features)

        with ExitStack() as stack:
            stack.enter_context(torch.autocast(hidden.device.type, enabled=False))
            for layer, call in zip(self._encoder.structure.layers, calls, strict=True):
                output = with_hidden(call.output, hidden)
                stack.enter_context(replaced_forward(layer, lambda *_, output=output, **__: output))
            if decoder is not None:
                stack.enter_context(replaced_forward(decoder, stop))
            try:
                found = self._encoder.logits(batch)
            except Reached as reached:
                (found,) = reached.args
        return at_masks(found, batch.mask_positions)

    def probability(self, features: Tensor, answers: Tensor) -> Tensor:
        """P ``[R]`` of the answers ``[R, M]``, with its graph."""
        if self._decoder is None:
            return joint_probability(answer_probability(features, answers))
        flat = features.to(_wide(features)).flatten(0, 1)
        tokens = decoded_probability(flat, self._decoder, answers.flatten())
        return joint_probability(tokens.view_as(answers))

    @torch.no_grad()  # the decoder's weights may ask for gradients, as in training
    def statistics(self, features: Tensor, answers: Tensor) -> AnswerStatistics:
        """Of the answers ``[R, M]``."""
        if self._decoder is None:
            return joint_statistics(answer_statistics(features, answers))
        flat = features.to(_wide(features)).flatten(0, 1)
        tokens = decoded_statistics(flat, self._decoder, answers.flatten())
        return joint_statistics(AnswerStatistics(*(part.view_as(answers) for part in tokens)))


def _wide(tensor: Tensor) -> torch.dtype:
    """The dtype of sums: float32, or float64 for a float64 model."""
    return torch.promote_types(tensor.dtype, torch.float32)
