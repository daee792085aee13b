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
from kn_lightning.core.probabilities import AnswerStatistics
from kn_lightning.encoders.calls import LayerCall, recorded_calls
from kn_lightning.encoders.climb import Climb, Rows, change_of_output
from kn_lightning.encoders.head import Head
from kn_lightning.encoders.hooked import at_masks
from kn_lightning.encoders.surgery import Reached, forward_hooks, forward_pre_hooks, hidden_of

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder


@dataclass(frozen=True)
class StagedBase(BasePass):
    """A base pass that remembers each layer's call."""

    calls: list[LayerCall]


class StagedForward:
    """:class:`~kn_lightning.core.forward.Forward` by climbs.

    Args:
        encoder: an encoder with verified traits.
        row_tokens: rows x tokens of one climb through all layers; what is beyond waits for the
            next.
    """

    def __init__(self, encoder: Encoder, row_tokens: int) -> None:
        self.encoder = encoder
        self.row_tokens = row_tokens
        self._head = Head(encoder)
        self._maps = encoder.structure.linear_maps

    def base(self, batch: TokenBatch, with_slope: bool = False) -> StagedBase:
        """Run the untouched encoder and remember each layer's call."""
        structure = self.encoder.structure
        projections = list(dict.fromkeys(structure.projections))  # some are shared by layers
        neurons: list[Tensor] = []

        def begin_graph(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
            return output.detach().requires_grad_(True) if len(neurons) == 1 else None

        def keep(_: nn.Module, args: tuple[Tensor], __: Any) -> None:
            neurons.append(at_masks(args[0].detach(), batch.mask_positions))

        def stop(*_: Any) -> None:
            if len(calls) == structure.n_layers:
                raise Reached

        with torch.set_grad_enabled(with_slope):
            with ExitStack() as stack:
                if with_slope:
                    stack.enter_context(forward_hooks([(projections[0], begin_graph)]))
                calls = stack.enter_context(recorded_calls(self.encoder))
                stack.enter_context(forward_pre_hooks([(module, keep) for module in projections]))
                stack.enter_context(forward_hooks([(structure.layers[-1], stop)]))
                stack.enter_context(suppress(Reached))
                self.encoder.logits(batch)
            hidden = hidden_of(calls[-1].output)
            if self.encoder.traits.positionwise_head:
                hidden = at_masks(hidden, batch.mask_positions)
            features = self._head.features(calls, batch, hidden)
            end_gradient = self._end_gradient(calls, features, batch) if with_slope else None
        return StagedBase(
            batch,
            torch.stack(neurons, 1),
            self._head.statistics(features, batch.answers),
            end_gradient,
            [call.detached() for call in calls],
        )

    def _end_gradient(self, calls: list[LayerCall], features: Tensor, batch: TokenBatch) -> Tensor:
        """``[B, L, M, H]``: one backward through a base pass with its graph."""
        probability = self._head.probability(features, batch.answers)
        slopes, scale = _log_slopes(probability, [call.projected for call in calls])
        there = [at_masks(slope, batch.mask_positions) for slope in slopes]
        return torch.stack(there, 1).to(scale.dtype) * scale[:, None, None, None]

    @torch.no_grad()  # but for the climb itself: no graph of the parameters is kept
    def slope(self, base: StagedBase, points: Points) -> Slope:
        """P and its gradient by what the layer's neurons' map gives."""
        known = base.statistics.probability
        probability = known.new_empty(len(points.layer))
        shape = (base.activations.shape[2], self.encoder.structure.hidden_size)
        gradient = known.new_empty(len(points.layer), *shape)
        for chunk in self._chunks(base, points.layer):
            rows = self._scaled(base, Points(*(part[chunk] for part in points)))
            rows.projected.requires_grad_(True)
            with torch.enable_grad():
                features = self._climbed(base, rows)
                found = self._head.probability(features, base.batch.answers[rows.prompt])
                (slope,), scale = _log_slopes(found, [rows.projected])
            gradient[chunk] = slope * scale[:, None, None]
            probability[chunk] = found.detach()
        return Slope(probability, gradient)

    def neuron_gradient(self, base: StagedBase, places: Places, gradient: Tensor) -> Tensor:
        """By the chain rule through the neurons' map: ``gradient @ W``."""
        result = gradient.new_empty(*gradient.shape[:-1], self.encoder.structure.n_neurons)
        with torch.no_grad(), torch.autocast(gradient.device.type, enabled=False):
            for layer, projection in enumerate(self._maps):
                here = places[1] == layer
                result[here] = gradient[here] @ projection.weight.to(gradient.dtype)
        return result

    @torch.no_grad()
    def scaled_probability(self, base: StagedBase, places: Places, factor: float) -> Tensor:
        """``[N]``: P with all neurons of a place times ``factor``."""
        known = base.statistics.probability
        points = Points.of(places, factor, known.dtype)
        probability = known.new_empty(len(points.layer))
        for chunk in self._chunks(base, points.layer):
            rows = self._scaled(base, Points(*(part[chunk] for part in points)))
            features = self._climbed(base, rows)
            probability[chunk] = self._head.probability(features, base.batch.answers[rows.prompt])
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
        results = base.statistics.empty(len(prompt))
        for chunk in self._chunks(base, start):
            part = edits.of_rows(chunk, len(prompt))
            rows = self._edited(base, prompt[chunk], start[chunk], part)
            found = self._head.statistics(
                self._climbed(base, rows), base.batch.answers[rows.prompt]
            )
            for result, column in zip(results, found, strict=True):
                result[chunk] = column
        return results

    def _chunks(self, base: StagedBase, layer: Tensor) -> Iterator[Tensor]:
        """Indices of the rows of each climb, ascending by the layer they start at.

        A row takes time and memory by the layers above its own. Rows that start near each other
        climb together: few products of a small number of rows.
        """
        n_layers = self.encoder.structure.n_layers
        order = layer.argsort(stable=True)
        above = n_layers - layer[order]
        upto = above.cumsum(0)
        total = int(upto[-1]) if len(upto) else 0
        n_chunks = -(-total * base.batch.input_ids.shape[1] // (self.row_tokens * n_layers))
        number = (upto - above) * n_chunks // max(1, total)
        yield from order.split(number.unique_consecutive(return_counts=True)[1].tolist())

    def _rows(
        self, base: StagedBase, prompt: Tensor, layer: Tensor, change: Callable[..., Tensor]
    ) -> Rows:
        """Rows whose ``projected`` is ``change(untouched [N, M, H], layer, index [N])``."""
        masks = base.batch.mask_positions[prompt]
        projected = base.statistics.probability.new_empty(
            *masks.shape, self.encoder.structure.hidden_size
        )
        counts = torch.bincount(layer, minlength=self.encoder.structure.n_layers).tolist()
        start = 0
        for one, count in enumerate(counts):
            if not count:
                continue
            index = slice(start, start + count)
            untouched = base.calls[one].projected[prompt[index, None], masks[index]]
            projected[index] = change(untouched.to(projected.dtype), one, index)
            start += count
        return Rows(prompt, masks, layer, projected)

    def _scaled(self, base: StagedBase, points: Points) -> Rows:
        """Rows in which all neurons of a layer are ``node`` times what they were."""

        def scale(untouched: Tensor, layer: int, index: slice) -> Tensor:
            own = self._maps[layer].bias
            bias = torch.zeros_like(untouched[:1]) if own is None else own.to(untouched.dtype)
            return bias + points.node[index, None, None].to(untouched.dtype) * (untouched - bias)

        return self._rows(base, points.prompt, points.layer, scale)

    def _edited(self, base: StagedBase, prompt: Tensor, start: Tensor, edits: RowEdits) -> Rows:
        """Rows with some neurons times a factor: now at the layer they start at, later above."""
        first = edits.layer == start[edits.row]
        own = RowEdits(*(column[first] for column in edits))

        def change(untouched: Tensor, layer: int, index: slice) -> Tensor:
            here = own.of_layer(layer)
            activation = base.activations[:, layer][prompt[here.row], :, here.neuron]
            here = here._replace(row=here.row - index.start)
            weight = self._maps[layer].weight
            n_rows = len(untouched)
            return untouched + change_of_output(here, activation, weight, n_rows, untouched)

        rows = self._rows(base, prompt, start, change)
        return replace(rows, edits=RowEdits(*(column[~first] for column in edits)))

    def _climbed(self, base: StagedBase, rows: Rows) -> Tensor:
        """What the decoder is given in each row, see :meth:`Head.features`."""
        hidden = Climb(self.encoder, base.calls, rows).top()
        return self._head.features(base.calls, base.batch.rows(rows.prompt), hidden)


def _log_slopes(probability: Tensor, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Gradients of P / scale by ``inputs``, and the scale ``[R]``, near P.

    A small P's own gradient would underflow on its way back through layers in half precision.
    """
    # A power of two, near P: it rounds nothing.
    smallest = torch.finfo(probability.dtype).tiny
    scale = probability.detach().clamp_min(smallest).log2().floor().exp2()
    return torch.autograd.grad(probability, inputs, 1 / scale), scale
