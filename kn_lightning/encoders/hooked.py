"""The reference: whole forward passes of the untouched model, neurons changed by a pre-hook.

Slow and obvious, for any architecture; the staged forward must agree with it, and where it can't,
studies run by this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kn_lightning.core.edits import RowEdits
from kn_lightning.core.forward import BasePass, Places, Points, Slope, TokenBatch
from kn_lightning.core.probabilities import (
    AnswerStatistics,
    answer_probability,
    answer_statistics,
    joint_probability,
    joint_statistics,
)
from kn_lightning.encoders.neurons import changed_neurons
from kn_lightning.encoders.rows import remedy
from kn_lightning.encoders.surgery import forward_hooks, hidden_of, with_hidden
from kn_lightning.errors import InputError

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder

Change = Callable[[Tensor], Tensor]


def at_masks(tensor: Tensor, mask_positions: Tensor) -> Tensor:
    """``tensor`` ``[R, T, ...]`` at each row's masks: ``[R, M, ...]``; M of them are the masks."""
    if tensor.shape[1] == mask_positions.shape[1]:
        return tensor
    return tensor[mask_index(mask_positions)]


def mask_index(mask_positions: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the masks ``[R, M]`` in tensors ``[R, T, ...]``."""
    return torch.arange(len(mask_positions), device=mask_positions.device)[:, None], mask_positions


class HookedForward:
    """:class:`~kn_lightning.core.forward.Forward` by full forward passes.

    Args:
        encoder: any whose neurons are found.
        row_tokens: rows x tokens of one pass.
    """

    def __init__(self, encoder: Encoder, row_tokens: int = 1 << 12) -> None:
        self.encoder = encoder
        self.row_tokens = row_tokens

    def logits(
        self, batch: TokenBatch, changes: dict[int, Change], mask_only: bool = True
    ) -> Tensor:
        """Logits at the masks ``[R, M, V]``, each layer's neurons there put through its change.

        Args:
            batch: R rows.
            changes: layer -> function of its neurons at the masks, ``[R, M, I]`` to as many.
            mask_only: run the vocabulary head at the masks alone, where the encoder's head allows
                it.
        """
        structure, masks = self.encoder.structure, batch.mask_positions

        def there(layer: int) -> Callable[[Tensor], Tensor]:
            def change(neurons: Tensor) -> Tensor:
                rows, width = batch.input_ids.shape
                # Longformer pads tokens to its window, behind them.
                if neurons.ndim != 3 or len(neurons) != rows or neurons.shape[1] < width:
                    raise InputError(
                        f"{self.encoder.name}: neurons of layer {layer} come as"
                        f" {tuple(neurons.shape)}, not one row for each token; they are the inputs"
                        f" of {structure.names[layer]}. {remedy(self.encoder.model)}"
                    )
                index = mask_index(masks)
                return neurons.index_put(index, changes[layer](neurons[index]).to(neurons.dtype))

            return change

        last = structure.layers[-1] if structure.layers else None
        to_come = sum(layer is last for layer in structure.layers)  # ALBERT's layers are one

        def keep_mask(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
            nonlocal to_come
            to_come -= 1
            return None if to_come else with_hidden(output, at_masks(hidden_of(output), masks))

        mask_only = mask_only and self.encoder.traits.positionwise_head
        with (
            changed_neurons(self.encoder, {layer: there(layer) for layer in changes}),
            forward_hooks([(last, keep_mask)] if mask_only and last is not None else []),
        ):
            logits = self.encoder.logits(batch)
        return at_masks(logits, masks)

    def base(self, batch: TokenBatch, with_slope: bool = False) -> BasePass:
        """Run the untouched encoder."""
        neurons: list[Tensor] = []

        def keep(there: Tensor) -> Tensor:
            neurons.append(there)
            return there

        with torch.no_grad():
            layers = range(self.encoder.structure.n_layers)
            logits = self.logits(batch, dict.fromkeys(layers, keep))
        activations = torch.stack(neurons, 1)
        statistics = joint_statistics(answer_statistics(logits, batch.answers))
        base = BasePass(batch, activations, statistics, None)
        if not with_slope:
            return base
        everywhere = Places.where(torch.ones_like(activations[..., 0, 0]))
        ends = self.slope(base, Points.of(everywhere, 1.0, activations.dtype)).gradient
        return replace(base, end_gradient=ends.unflatten(0, activations.shape[:2]))

    def _chunks(self, base: BasePass, layer: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Indices of the rows of each pass, with their layer."""
        most = max(1, self.row_tokens // base.batch.input_ids.shape[1])
        for one in layer.unique().tolist():
            for chunk in (layer == one).nonzero()[:, 0].split(most):
                yield one, chunk

    def _probability(self, base: BasePass, layer: int, prompt: Tensor, neurons: Tensor) -> Tensor:
        batch = base.batch.rows(prompt)
        logits = self.logits(batch, {layer: lambda _: neurons})
        return joint_probability(answer_probability(logits, batch.answers))

    def slope(self, base: BasePass, points: Points) -> Slope:
        """P and its gradient by the neurons themselves."""
        known = base.statistics.probability
        probability = known.new_empty(len(points.layer))
        gradient = known.new_empty(len(points.layer), *base.activations.shape[2:])
        for layer, chunk in self._chunks(base, points.layer):
            prompt, node = points.prompt[chunk], points.node[chunk, None, None]
            neurons = node.to(base.activations.dtype) * base.activations[prompt, layer]
            neurons.requires_grad_(True)
            with torch.enable_grad():
                found = self._probability(base, layer, prompt, neurons)
                (slope,) = torch.autograd.grad(found.sum(), neurons)
            probability[chunk], gradient[chunk] = found.detach(), slope.to(gradient.dtype)
        return Slope(probability, gradient)

    def neuron_gradient(self, base: BasePass, places: Places, gradient: Tensor) -> Tensor:
        """As it is."""
        return gradient

    @torch.no_grad()
    def scaled_probability(self, base: BasePass, places: Places, factor: float) -> Tensor:
        """``[N]``: P with all neurons of a place times ``factor``."""
        return self._replaced_probability(base, places, base.activations[places] * factor)

    @torch.no_grad()
    def ablated_probability(self, base: BasePass, places: Places, neuron: Tensor) -> Tensor:
        """``[N]``: P with one neuron of a place at 0."""
        neurons = base.activations[places]
        neurons[torch.arange(len(neuron), device=neuron.device), :, neuron] = 0
        return self._replaced_probability(base, places, neurons)

    def _replaced_probability(self, base: BasePass, places: Places, neurons: Tensor) -> Tensor:
        prompt, layer = places
        probability = base.statistics.probability.new_empty(len(prompt))
        for one, chunk in self._chunks(base, layer):
            probability[chunk] = self._probability(base, one, prompt[chunk], neurons[chunk])
        return probability

    def edited_statistics(
        self, base: BasePass, prompt: Tensor, edits: RowEdits
    ) -> AnswerStatistics:
        """Of R rows, each a prompt of the base pass with its own neurons edited at the mask."""
        results = base.statistics.empty(len(prompt))
        most = max(1, self.row_tokens // base.batch.input_ids.shape[1])
        for chunk in torch.arange(len(prompt), device=prompt.device).split(most):
            batch = base.batch.rows(prompt[chunk])
            logits = self.edited_logits(batch, edits.of_rows(chunk, len(prompt)))
            found = joint_statistics(answer_statistics(logits, batch.answers))
            for result, column in zip(results, found, strict=True):
                result[chunk] = column
        return results

    @torch.no_grad()
    def edited_logits(self, batch: TokenBatch, edits: RowEdits) -> Tensor:
        """Logits at the masks ``[R, M, V]`` of R rows, each with its own neurons edited there."""

        def change(layer: int) -> Change:
            here = edits.layer == layer
            row, neuron, factor = edits.row[here], edits.neuron[here], edits.factor[here, None]

            def scale(neurons: Tensor) -> Tensor:
                changed = neurons.clone()
                # Assigned, not multiplied in place: a neuron listed twice is still changed once.
                edited = neurons[row, :, neuron] * factor
                changed[row, :, neuron] = edited.to(neurons.dtype)
                return changed

            return scale

        return self.logits(
            batch, {int(layer): change(int(layer)) for layer in edits.layer.unique()}
        )
