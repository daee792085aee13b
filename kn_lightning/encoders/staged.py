"""The fast way: one climb of many rows, whatever they change, instead of many forward passes.

The neurons' map is linear, W(a * w) + b = a * W w + b, so a row carries its output z ``[H]``, and
gradients are summed over nodes before they go back through W: nothing of width I is computed per
row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kn_lightning.core.edits import RowEdits
from kn_lightning.core.forward import BasePass, Places, Points, Slope, TokenBatch
from kn_lightning.core.probabilities import (
    AnswerStatistics,
    Decoder,
    answer_probability,
    answer_statistics,
    decoded_probability,
    decoded_statistics,
)
from kn_lightning.encoders.calls import LayerCall, recorded_calls
from kn_lightning.encoders.climb import Climb, Rows, change_of_output
from kn_lightning.encoders.hooked import at_mask, rows_of
from kn_lightning.encoders.surgery import (
    forward_hooks,
    forward_pre_hooks,
    hidden_of,
    replaced_forward,
    with_hidden,
)

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder


@dataclass(frozen=True)
class StagedBase(BasePass):
    """A base pass that remembers each layer's call."""

    calls: list[LayerCall]


class _Reached(Exception):
    """Carries what was computed out of a model, of which nothing more is needed."""


class StagedForward:
    """:class:`~kn_lightning.core.forward.Forward` by climbs.

    Args:
        encoder: an encoder with verified traits.
        row_tokens: rows x tokens of one climb at the most; what is beyond waits for the next.
    """

    def __init__(self, encoder: Encoder, row_tokens: int) -> None:
        self.encoder = encoder
        self.row_tokens = row_tokens

    def base(self, batch: TokenBatch, with_slope: bool = False) -> StagedBase:
        """Run the untouched encoder and remember each layer's call."""
        projections = self.encoder.structure.projections
        neurons: list[Tensor] = []

        def begin_graph(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            return output.detach().requires_grad_(True)

        def keep(_: nn.Module, args: tuple[Tensor], __: Any) -> None:
            neurons.append(at_mask(args[0].detach(), batch.mask_position))

        def stop(*_: Any) -> None:
            raise _Reached

        with torch.set_grad_enabled(with_slope):
            with ExitStack() as stack:
                if with_slope:
                    stack.enter_context(forward_hooks([(projections[0], begin_graph)]))
                calls = stack.enter_context(recorded_calls(self.encoder))
                stack.enter_context(forward_pre_hooks([(module, keep) for module in projections]))
                stack.enter_context(forward_hooks([(self.encoder.structure.layers[-1], stop)]))
                stack.enter_context(suppress(_Reached))
                self.encoder.logits(batch)
            hidden = hidden_of(calls[-1].output)
            if self.encoder.traits.positionwise_head:
                hidden = at_mask(hidden, batch.mask_position)[:, None]
            read = self._read(calls, batch, hidden)
            end_gradient = self._end_gradient(calls, read, batch) if with_slope else None
        return StagedBase(
            batch,
            torch.stack(neurons, 1),
            self._statistics(read, batch.answer),
            end_gradient,
            [call.detached() for call in calls],
        )

    def _end_gradient(self, calls: list[LayerCall], read: Tensor, batch: TokenBatch) -> Tensor:
        """``[B, L, H]``: one backward through a base pass with its graph."""
        probability = self._probability(read, batch.answer)
        slopes, scale = _log_slopes(probability, [call.projected for call in calls])
        at_masks = [at_mask(slope, batch.mask_position) for slope in slopes]
        return torch.stack(at_masks, 1).to(_wide(read)) * scale[:, None, None]

    @torch.no_grad()  # but for the climb itself: no graph of the parameters is kept
    def slope(self, base: StagedBase, points: Points) -> Slope:
        """P and its gradient by what the layer's neurons' map gives."""
        wide = base.statistics.probability
        probability = wide.new_empty(len(points.layer))
        gradient = wide.new_empty(len(points.layer), self.encoder.structure.hidden_size)
        for chunk in self._chunks(base, points.layer):
            rows = self._scaled(base, Points(*(part[chunk] for part in points)))
            rows.projected.requires_grad_(True)
            with torch.enable_grad():
                read = self._climbed(base, rows)
                found = self._probability(read, base.batch.answer[rows.prompt])
                (slope,), scale = _log_slopes(found, [rows.projected])
            gradient[chunk] = slope * scale[:, None]
            probability[chunk] = found.detach()
        return Slope(probability, gradient)

    def neuron_gradient(self, base: StagedBase, places: Places, gradient: Tensor) -> Tensor:
        """By the chain rule through the neurons' map: ``gradient @ W``."""
        result = gradient.new_empty(len(gradient), self.encoder.structure.n_neurons)
        with torch.no_grad(), torch.autocast(gradient.device.type, enabled=False):
            for layer, projection in enumerate(self.encoder.structure.projections):
                here = places[1] == layer
                result[here] = gradient[here] @ projection.weight.to(gradient.dtype)
        return result

    @torch.no_grad()
    def scaled_probability(self, base: StagedBase, places: Places, factor: float) -> Tensor:
        """``[N]``: P with all neurons of a place times ``factor``."""
        wide = base.statistics.probability
        points = Points.of(places, factor, wide.dtype)
        probability = wide.new_empty(len(points.layer))
        for chunk in self._chunks(base, points.layer):
            rows = self._scaled(base, Points(*(part[chunk] for part in points)))
            read = self._climbed(base, rows)
            probability[chunk] = self._probability(read, base.batch.answer[rows.prompt])
        return probability

    def ablated_probability(self, base: StagedBase, places: Places, neuron: Tensor) -> Tensor:
        """``[N]``: P with one neuron of a place at 0."""
        prompt, layer = places
        rows = torch.arange(len(neuron), device=neuron.device)
        zero = torch.zeros(len(neuron), device=neuron.device)
        return self.edited_statistics(base, prompt, RowEdits(rows, layer, neuron, zero)).probability

    @torch.no_grad()
    def edited_statistics(
        self, base: StagedBase, prompt: Tensor, edits: RowEdits
    ) -> AnswerStatistics:
        """Of R rows, each a prompt of the base pass with its own neurons edited at the mask.

        Args:
            base: the base pass.
            prompt: of each row, ``[R]``.
            edits: of the rows; a row starts at the lowest layer that they change.
        """
        last = self.encoder.structure.n_layers - 1
        start = torch.full_like(prompt, last).scatter_reduce(0, edits.row, edits.layer, "amin")
        results = AnswerStatistics(*(part.new_empty(len(prompt)) for part in base.statistics))
        for chunk in self._chunks(base, start):
            place = torch.full_like(prompt, -1)
            place[chunk] = torch.arange(len(chunk), device=prompt.device)
            mine = place[edits.row] >= 0
            part = RowEdits(place[edits.row[mine]], *(column[mine] for column in edits[1:]))
            rows = self._edited(base, prompt[chunk], start[chunk], part)
            found = self._statistics(self._climbed(base, rows), base.batch.answer[rows.prompt])
            for result, column in zip(results, found, strict=True):
                result[chunk] = column
        return results

    def _chunks(self, base: StagedBase, layer: Tensor) -> Iterator[Tensor]:
        """Indices of rows that fit into one climb, ascending by the layer they start at."""
        size = max(1, self.row_tokens // base.batch.input_ids.shape[1])
        for start in range(0, len(layer), size):
            yield start + layer[start : start + size].argsort(stable=True)

    def _rows(
        self, base: StagedBase, prompt: Tensor, layer: Tensor, change: Callable[..., Tensor]
    ) -> Rows:
        """Rows whose ``projected`` is ``change(untouched [N, H], projection, index [N])``."""
        mask = base.batch.mask_position[prompt]
        projected = base.statistics.probability.new_empty(
            len(prompt), self.encoder.structure.hidden_size
        )
        counts = torch.bincount(layer, minlength=self.encoder.structure.n_layers).tolist()
        start = 0
        for one, count in enumerate(counts):
            if not count:
                continue
            index = slice(start, start + count)
            untouched = base.calls[one].projected[prompt[index], mask[index]].to(projected.dtype)
            projected[index] = change(untouched, one, index)
            start += count
        return Rows(prompt, mask, layer, projected)

    def _scaled(self, base: StagedBase, points: Points) -> Rows:
        """Rows in which all neurons of a layer are ``node`` times what they were."""

        def scale(untouched: Tensor, layer: int, index: slice) -> Tensor:
            own = self.encoder.structure.projections[layer].bias
            bias = torch.zeros_like(untouched[:1]) if own is None else own.to(untouched.dtype)
            return bias + points.node[index, None].to(untouched.dtype) * (untouched - bias)

        return self._rows(base, points.prompt, points.layer, scale)

    def _edited(self, base: StagedBase, prompt: Tensor, start: Tensor, edits: RowEdits) -> Rows:
        """Rows with some neurons times a factor: now at the layer they start at, later above."""
        first = edits.layer == start[edits.row]
        own = RowEdits(*(column[first] for column in edits))

        def change(untouched: Tensor, layer: int, index: slice) -> Tensor:
            here = RowEdits(*(column[own.layer == layer] for column in own))
            activation = base.activations[prompt[here.row], layer, here.neuron]
            weight = self.encoder.structure.projections[layer].weight
            return untouched.index_add(
                0, here.row - index.start, change_of_output(here, activation, weight, untouched)
            )

        rows = self._rows(base, prompt, start, change)
        return replace(rows, edits=RowEdits(*(column[~first] for column in edits)))

    def _climbed(self, base: StagedBase, rows: Rows) -> Tensor:
        """What the decoder is given in each row, see :meth:`_read`."""
        hidden = Climb(self.encoder, base.calls, rows).top()
        return self._read(base.calls, rows_of(base.batch, rows.prompt), hidden)

    def _read(self, calls: list[LayerCall], batch: TokenBatch, hidden: Tensor) -> Tensor:
        """What the decoder is given at the mask ``[R, D]``; without a decoder, logits ``[R, V]``.

        The model runs once more, its layers giving ``hidden``, and in its own precision: rounding
        to half precision would be felt in every probability.
        """
        decoder = self.encoder.traits.decoder
        if self.encoder.traits.positionwise_head:
            batch = rows_of(batch, torch.zeros_like(batch.answer[:1]))
        hidden = hidden.to(self.encoder.model.dtype)

        def stop(features: Tensor) -> None:
            raise _Reached(features)

        with ExitStack() as stack:
            stack.enter_context(torch.autocast(hidden.device.type, enabled=False))
            for layer, call in zip(self.encoder.structure.layers, calls, strict=True):
                output = with_hidden(call.output, hidden)
                stack.enter_context(replaced_forward(layer, lambda *_, output=output, **__: output))
            if decoder is not None:
                stack.enter_context(replaced_forward(decoder, stop))
            try:
                read = self.encoder.logits(batch)
            except _Reached as reached:
                (read,) = reached.args
        return at_mask(read, batch.mask_position)

    @property
    def _decoder(self) -> Decoder | None:
        decoder = self.encoder.traits.decoder
        return None if decoder is None else Decoder(decoder.weight, decoder.bias)

    def _probability(self, read: Tensor, answer: Tensor) -> Tensor:
        if self._decoder is None:
            return answer_probability(read, answer)
        return decoded_probability(read.to(_wide(read)), self._decoder, answer)

    @torch.no_grad()  # the decoder's weights may ask for gradients, as in training
    def _statistics(self, read: Tensor, answer: Tensor) -> AnswerStatistics:
        if self._decoder is None:
            return answer_statistics(read, answer)
        return decoded_statistics(read.to(_wide(read)), self._decoder, answer)


def _log_slopes(probability: Tensor, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Gradients of P / scale by ``inputs``, and the scale ``[R]``, near P.

    A small P's own gradient would underflow on its way back through layers in half precision.
    """
    # A power of two, near P: it rounds nothing.
    smallest = torch.finfo(probability.dtype).tiny
    scale = probability.detach().clamp_min(smallest).log2().floor().exp2()
    return torch.autograd.grad(probability, inputs, 1 / scale), scale


def _wide(tensor: Tensor) -> torch.dtype:
    """The dtype of sums: float32, or float64 for a float64 model."""
    return torch.promote_types(tensor.dtype, torch.float32)
