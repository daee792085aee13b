"""The reference: whole forward passes of the untouched model, neurons changed by a pre-hook.

Slow and obvious, for any architecture; the staged forward must agree with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kn_lightning.core.edits import RowEdits
from kn_lightning.core.forward import BasePass, Places, Points, Slope, TokenBatch
from kn_lightning.core.probabilities import answer_probability, answer_statistics
from kn_lightning.encoders.surgery import forward_hooks, forward_pre_hooks, hidden_of, with_hidden
from kn_lightning.errors import InputError

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder

Change = Callable[[Tensor], Tensor]


def at_mask(tensor: Tensor, mask_position: Tensor) -> Tensor:
    """``tensor`` ``[R, T, H]`` at each row's mask: ``[R, H]``; where T is 1, that is the mask."""
    if tensor.shape[1] == 1:
        return tensor[:, 0]
    return tensor[torch.arange(len(tensor), device=tensor.device), mask_position]


def rows_of(batch: TokenBatch, prompt: Tensor) -> TokenBatch:
    """The rows of a batch that belong to the prompts ``[R]``."""
    return TokenBatch(
        batch.input_ids[prompt],
        batch.attention_mask[prompt],
        batch.mask_position[prompt],
        batch.answer[prompt],
    )


class HookedForward:
    """:class:`~kn_lightning.core.forward.Forward` by full forward passes."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def logits(
        self, batch: TokenBatch, changes: dict[int, Change], mask_only: bool = True
    ) -> Tensor:
        """Logits at the mask ``[R, V]``, each layer's neurons there put through its change.

        Args:
            batch: R rows.
            changes: layer -> function of its neurons at the mask, ``[R, I]`` to ``[R, I]``.
            mask_only: run the vocabulary head at the mask alone, where the encoder's head allows
                it.
        """
        structure, mask = self.encoder.structure, batch.mask_position

        def change(layer: int) -> Callable[..., Any]:
            def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                neurons = args[0]
                if neurons.shape[:-1] != batch.input_ids.shape:
                    raise InputError(
                        f"{self.encoder.name}: neurons of layer {layer} come as"
                        f" {tuple(neurons.shape)}, not one row for each token"
                    )
                rows = torch.arange(len(neurons), device=neurons.device)
                changed = changes[layer](neurons[rows, mask]).to(neurons.dtype)
                return (neurons.index_put((rows, mask), changed), *args[1:]), kwargs

            return hook

        def keep_mask(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
            return with_hidden(output, at_mask(hidden_of(output), mask)[:, None])

        mask_only = mask_only and self.encoder.traits.positionwise_head
        with (
            forward_pre_hooks([(structure.projections[layer], change(layer)) for layer in changes]),
            forward_hooks([(structure.layers[-1], keep_mask)] if mask_only else []),
        ):
            logits = self.encoder.logits(batch)
        return at_mask(logits, mask)

    def base(self, batch: TokenBatch, with_slope: bool = False) -> BasePass:
        """Run the untouched encoder."""
        projections = self.encoder.structure.projections
        neurons: dict[nn.Module, Tensor] = {}

        def keep(module: nn.Module, args: tuple[Any, ...], _: dict[str, Any]) -> None:
            neurons[module] = at_mask(args[0], batch.mask_position)

        with torch.no_grad(), forward_pre_hooks([(module, keep) for module in projections]):
            logits = self.logits(batch, {})
        activations = torch.stack([neurons[module] for module in projections], 1)
        base = BasePass(batch, activations, answer_statistics(logits, batch.answer), None)
        if not with_slope:
            return base
        everywhere = Places.where(torch.ones_like(activations[..., 0]))
        ends = self.slope(base, Points.of(everywhere, 1.0, activations.dtype)).gradient
        return replace(base, end_gradient=ends.unflatten(0, activations.shape[:2]))

    def _probability(self, base: BasePass, layer: int, prompt: Tensor, neurons: Tensor) -> Tensor:
        batch = rows_of(base.batch, prompt)
        return answer_probability(self.logits(batch, {layer: lambda _: neurons}), batch.answer)

    def slope(self, base: BasePass, points: Points) -> Slope:
        """P and its gradient by the neurons themselves, one point after another."""
        probabilities, gradients = [], []
        for prompt, layer, node in zip(*points, strict=True):
            neurons = node.to(base.activations.dtype) * base.activations[prompt, layer][None]
            neurons.requires_grad_(True)
            with torch.enable_grad():
                probability = self._probability(base, int(layer), prompt[None], neurons)
                gradients += torch.autograd.grad(probability.sum(), neurons)
            probabilities.append(probability.detach())
        return Slope(torch.cat(probabilities), torch.cat(gradients))

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
        neurons[torch.arange(len(neuron), device=neuron.device), neuron] = 0
        return self._replaced_probability(base, places, neurons)

    def _replaced_probability(self, base: BasePass, places: Places, neurons: Tensor) -> Tensor:
        prompt, layer = places
        wide = torch.promote_types(neurons.dtype, torch.float32)
        probability = neurons.new_empty(len(prompt), dtype=wide)
        for one in layer.unique():
            here = layer == one
            probability[here] = self._probability(base, int(one), prompt[here], neurons[here])
        return probability

    @torch.no_grad()
    def edited_logits(self, batch: TokenBatch, edits: RowEdits) -> Tensor:
        """Logits at the mask ``[R, V]`` of R rows, each with its own neurons edited there."""

        def change(layer: int) -> Change:
            here = edits.layer == layer
            row, neuron, factor = edits.row[here], edits.neuron[here], edits.factor[here]

            def scale(neurons: Tensor) -> Tensor:
                changed = neurons.clone()
                # Assigned, not multiplied in place: a neuron listed twice is still changed once.
                changed[row, neuron] = (neurons[row, neuron] * factor).to(neurons.dtype)
                return changed

            return scale

        return self.logits(
            batch, {int(layer): change(int(layer)) for layer in edits.layer.unique()}
        )
