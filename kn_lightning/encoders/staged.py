"""The fast way: rows start behind the layer that they change, and climb the layers together.

A change at layer l's mask leaves the layers up to l alone, so rows for layer l need only what
follows. Walking up once, the rows of each layer are appended to those from below (the staircase):
one pass and one backward serve all layers, nodes and prompts in few, large matrix products. Layers
are black boxes, called again with the arguments that the base pass gave them.

The neurons' map is linear, W(a * w) + b = a * W w + b, so a row carries its output z ``[H]``, and
gradients are summed over nodes before they go back through W: nothing of width I is computed per
row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_unflatten

from kn_lightning.core.attribution import BasePass, Places, TokenBatch
from kn_lightning.core.probabilities import answer_probability
from kn_lightning.core.quadrature import Quadrature
from kn_lightning.encoders.calls import LayerCall, recorded_calls
from kn_lightning.encoders.hooked import HookedForward, at_mask, rows_of
from kn_lightning.encoders.surgery import (
    forward_hooks,
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


@dataclass(frozen=True)
class Rows:
    """R rows that start at ``layer``: prompt ``[R]`` and output of the neurons' map ``[R, H]``."""

    layer: int
    prompt: Tensor
    projected: Tensor


class _MixerReached(Exception):
    """Carries a mixer's output out of its layer, of which nothing more is needed."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


class StagedForward:
    """:class:`~kn_lightning.core.attribution.Forward` by the staircase.

    Args:
        encoder: an encoder with verified traits.
        row_tokens: rows x tokens of one climb at the most; what is beyond waits for the next.
    """

    def __init__(self, encoder: Encoder, row_tokens: int) -> None:
        self.encoder = encoder
        self.row_tokens = row_tokens

    def base(self, batch: TokenBatch) -> StagedBase:
        """Run the untouched encoder and remember each layer's call."""
        with recorded_calls(self.encoder) as calls:
            base = HookedForward(self.encoder).base(batch)
        return StagedBase(base.batch, base.activations, base.logits, calls)

    @torch.no_grad()  # but for the climb itself: no graph of the parameters is kept
    def integrated_gradient(self, base: StagedBase, places: Places, rule: Quadrature) -> Tensor:
        """``[N, I]`` float32: sum over the rule of weight * dP/dw at node * w, for each place."""
        nodes, weights = (part.to(base.logits.device, _wide(base.activations)) for part in rule)
        gradient = torch.empty_like(base.activations[places], dtype=nodes.dtype)
        for chunk in self._chunks(base, places, len(nodes)):
            rows, members = self._scaled(base, places, chunk, nodes)
            for one in rows:
                one.projected.requires_grad_(True)
            with torch.enable_grad():
                probability = self._probability(base, rows)
                by_row = torch.autograd.grad(probability.sum(), [one.projected for one in rows])
            with torch.autocast(base.logits.device.type, enabled=False):
                for one, member, parts in zip(rows, members, by_row, strict=True):
                    summed = torch.einsum(
                        "s,nsh->nh", weights, parts.unflatten(0, (-1, len(nodes)))
                    )
                    weight = self.encoder.structure.projections[one.layer].weight
                    gradient[member] = summed @ weight.to(summed.dtype)
        return gradient

    @torch.no_grad()
    def scaled_probability(self, base: StagedBase, places: Places, factor: float) -> Tensor:
        """``[N]``: P with all neurons of a place times ``factor``."""
        nodes = torch.tensor([factor], device=base.logits.device, dtype=_wide(base.activations))
        probability = torch.empty(len(places[0]), device=nodes.device, dtype=nodes.dtype)
        for chunk in self._chunks(base, places, 1):
            rows, members = self._scaled(base, places, chunk, nodes)
            probability[torch.cat(members)] = self._probability(base, rows)
        return probability

    @torch.no_grad()
    def ablated_probability(self, base: StagedBase, places: Places, neuron: Tensor) -> Tensor:
        """``[N]``: P with one neuron of a place at 0."""
        wide = _wide(base.activations)
        probability = torch.empty(len(neuron), device=neuron.device, dtype=wide)
        for chunk in self._chunks(base, places, 1):
            rows, members = [], []
            for layer, member in _by_layer(places, chunk):
                prompt = places[0][member]
                column = self.encoder.structure.projections[layer].weight[:, neuron[member]].T
                activation = base.activations[prompt, layer, neuron[member]]
                whole = at_mask(base.calls[layer].projected, base.batch.mask_position)[prompt]
                rows.append(
                    Rows(layer, prompt, whole.to(wide) - activation[:, None].to(wide) * column)
                )
                members.append(member)
            probability[torch.cat(members)] = self._probability(base, rows)
        return probability

    def _chunks(self, base: StagedBase, places: Places, n_nodes: int) -> Iterator[slice]:
        """Runs of places whose rows fit into one climb."""
        tokens = base.batch.input_ids.shape[1]
        size = max(1, self.row_tokens // (tokens * n_nodes))
        for start in range(0, len(places[0]), size):
            yield slice(start, start + size)

    def _scaled(
        self, base: StagedBase, places: Places, chunk: slice, nodes: Tensor
    ) -> tuple[list[Rows], list[Tensor]]:
        """Rows of a chunk by layer, nodes innermost; and which of the places they serve."""
        rows, members = [], []
        for layer, member in _by_layer(places, chunk):
            prompt = places[0][member]
            projected = at_mask(base.calls[layer].projected, base.batch.mask_position)[prompt]
            projected = projected.to(nodes.dtype)
            own = self.encoder.structure.projections[layer].bias
            bias = torch.zeros_like(projected[0]) if own is None else own.to(nodes.dtype)
            scaled = bias + nodes[:, None] * (projected - bias)[:, None]
            rows.append(
                Rows(layer, prompt.repeat_interleave(len(nodes)), scaled.flatten(0, 1).detach())
            )
            members.append(member)
        return rows, members

    def _probability(self, base: StagedBase, rows: list[Rows]) -> Tensor:
        """P of the answer in each row, in the order of ``rows``, which ascends by layer."""
        at_layer = {one.layer: one for one in rows}
        prompt = rows[0].prompt[:0]
        hidden: Tensor | None = None
        for layer in range(rows[0].layer, self.encoder.structure.n_layers):
            parts = [] if hidden is None else [self._climb(base, layer, prompt, hidden)]
            if layer in at_layer:
                parts.append(self._start(base, at_layer[layer]))
                prompt = torch.cat([prompt, at_layer[layer].prompt])
            hidden = torch.cat(parts)
        assert hidden is not None
        return answer_probability(self._head(base, prompt, hidden), base.batch.answer[prompt])

    def _mask_suffices(self, layer: int) -> bool:
        """Whether nothing but the mask is needed of this layer's output."""
        traits = self.encoder.traits
        return layer == self.encoder.structure.n_layers - 1 and traits.positionwise_head

    def _climb(self, base: StagedBase, layer: int, prompt: Tensor, hidden: Tensor) -> Tensor:
        """One layer for rows from below: ``[R, T, H]``, ``[R, 1, H]`` where the mask suffices."""
        module = self.encoder.structure.layers[layer]
        args, kwargs = self._arguments(base, layer, prompt, hidden)
        if not self._mask_suffices(layer):
            return hidden_of(module(*args, **kwargs))
        mask = base.batch.mask_position[prompt]
        if not self.encoder.traits.mixers:
            return at_mask(hidden_of(module(*args, **kwargs)), mask)[:, None]
        mixer = self.encoder.traits.mixers[layer]
        mix = mixer.forward

        def stop(*args: Any, **kwargs: Any) -> Any:
            raise _MixerReached(mix(*args, **kwargs))

        try:
            with replaced_forward(mixer, stop):
                module(*args, **kwargs)
        except _MixerReached as reached:
            mixed = at_mask(hidden_of(reached.output), mask)
        return self._behind_mixer(base, layer, at_mask(hidden, mask), mixed, None)

    def _start(self, base: StagedBase, rows: Rows) -> Tensor:
        """New rows behind their own layer: the base pass everywhere but at the mask."""
        call, prompt = base.calls[rows.layer], rows.prompt
        mask = base.batch.mask_position[prompt]
        inputs = call.leaves[call.hidden_leaf]
        if not self.encoder.traits.mixers:
            return self._start_whole(base, rows, inputs[prompt])
        start = self._behind_mixer(
            base,
            rows.layer,
            at_mask(inputs, base.batch.mask_position)[prompt],
            at_mask(hidden_of(call.mixed), base.batch.mask_position)[prompt],
            rows.projected,
        )
        if self._mask_suffices(rows.layer):
            return start
        output = hidden_of(call.output)[prompt]
        at = torch.arange(output.shape[1], device=output.device) == mask[:, None]
        return torch.where(at[..., None], start.to(output.dtype), output)

    def _start_whole(self, base: StagedBase, rows: Rows, inputs: Tensor) -> Tensor:
        """New rows where no mixer is known: the whole layer again, its neurons' map replaced."""
        mask = base.batch.mask_position[rows.prompt]
        at = torch.arange(inputs.shape[1], device=inputs.device) == mask[:, None]

        def replace(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
            return torch.where(at[..., None], rows.projected[:, None].to(output.dtype), output)

        with forward_hooks([(self.encoder.structure.projections[rows.layer], replace)]):
            args, kwargs = self._arguments(base, rows.layer, rows.prompt, inputs)
            output = hidden_of(self.encoder.structure.layers[rows.layer](*args, **kwargs))
        return at_mask(output, mask)[:, None] if self._mask_suffices(rows.layer) else output

    def _arguments(self, base: StagedBase, layer: int, prompt: Tensor, hidden: Tensor) -> Any:
        """A layer's arguments for rows: what the base pass gave, of each row's own prompt."""
        call = base.calls[layer]
        leaves = list(call.leaves)
        for i, axis in enumerate(self.encoder.traits.batch_axes[layer]):
            # A mask that is the same for all prompts may come with a batch axis of length 1.
            if axis is not None and isinstance(leaves[i], Tensor) and leaves[i].shape[axis] > 1:
                leaves[i] = leaves[i].index_select(axis, prompt)
        leaves[call.hidden_leaf] = hidden
        return tree_unflatten(leaves, call.structure)

    def _behind_mixer(
        self, base: StagedBase, layer: int, hidden: Tensor, mixed: Tensor, projected: Tensor | None
    ) -> Tensor:
        """What a layer does behind its mixer, at the mask alone: ``[R, 1, H]``.

        Args:
            base: the base pass.
            layer: which.
            hidden: the layer's input at the mask ``[R, H]``.
            mixed: its mixer's output there ``[R, H]``.
            projected: what its neurons' map shall give ``[R, H]``; None lets it run.
        """
        call = base.calls[layer]
        leaves = list(call.leaves)
        leaves[call.hidden_leaf] = hidden[:, None]
        args, kwargs = tree_unflatten(leaves, call.structure)
        with ExitStack() as stack:
            output = with_hidden(call.mixed, mixed[:, None])
            stack.enter_context(
                replaced_forward(self.encoder.traits.mixers[layer], lambda *_, **__: output)
            )
            if projected is not None:
                given = projected[:, None].to(call.projected.dtype)
                projection = self.encoder.structure.projections[layer]
                stack.enter_context(replaced_forward(projection, lambda _: given))
            return hidden_of(self.encoder.structure.layers[layer](*args, **kwargs))

    def _head(self, base: StagedBase, prompt: Tensor, hidden: Tensor) -> Tensor:
        """Logits at the mask ``[R, V]``: the model once more, its layers giving ``hidden``."""
        positionwise = self.encoder.traits.positionwise_head
        batch = rows_of(base.batch, prompt[:1] if positionwise else prompt)
        with ExitStack() as stack:
            for layer, call in zip(self.encoder.structure.layers, base.calls, strict=True):
                output = with_hidden(call.output, hidden)
                stack.enter_context(replaced_forward(layer, lambda *_, output=output, **__: output))
            logits = self.encoder.logits(batch)
        return logits[:, 0] if positionwise else at_mask(logits, base.batch.mask_position[prompt])


def _wide(tensor: Tensor) -> torch.dtype:
    """The dtype of sums: float32, or float64 for a float64 model."""
    return torch.promote_types(tensor.dtype, torch.float32)


def _by_layer(places: Places, chunk: slice) -> Iterator[tuple[int, Tensor]]:
    """Layers of a chunk, ascending, each with the indices of its places."""
    layers = places[1][chunk]
    for layer in layers.unique().tolist():
        yield layer, (layers == layer).nonzero()[:, 0] + chunk.start
