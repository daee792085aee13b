"""Rows that start behind the layer that they change, and climb the layers together.

A change at layer l's masks leaves the layers up to l alone, so rows for layer l need only what
follows. Walking up once, the rows of each layer are appended to those from below (the staircase):
one pass and one backward serve all layers, nodes and prompts in few, large matrix products. Layers
are black boxes, called again with the arguments that the base pass gave them.

In the layer right behind its own, a row differs from the base pass at the masks alone: all that its
entries (queries, keys, values) give elsewhere is known. In the last layer nothing but the masks is
wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag
from torch.utils._pytree import tree_unflatten

from kn_lightning.core.edits import RowEdits
from kn_lightning.encoders.calls import LayerCall
from kn_lightning.encoders.hooked import at_masks, mask_index
from kn_lightning.encoders.surgery import (
    Reached,
    forward_hooks,
    hidden_of,
    replaced_forward,
    with_hidden,
)

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder


@dataclass(frozen=True)
class Rows:
    """R rows, ascending by the layer whose neurons they change.

    Attributes:
        prompt: of the base pass, ``[R]``.
        masks: positions of its masks, ``[R, M]``.
        layer: where they start, ``[R]``.
        projected: what that layer's neurons' map gives at the masks, ``[R, M, H]``.
        edits: of layers behind the first.
    """

    prompt: Tensor
    masks: Tensor
    layer: Tensor
    projected: Tensor
    edits: RowEdits | None = None


class Climb:
    """One way up of rows through an encoder.

    Args:
        encoder: with verified traits.
        calls: of the base pass.
        rows: that climb.
    """

    def __init__(self, encoder: Encoder, calls: Sequence[LayerCall], rows: Rows) -> None:
        self._layers = encoder.structure.layers
        self._projections = encoder.structure.projections
        self._traits = encoder.traits
        self._calls = calls
        self._rows = rows

    def top(self) -> Tensor:
        """Behind the last layer: ``[R, M, H]`` where the masks suffice, else ``[R, T, H]``."""
        starting = torch.bincount(self._rows.layer, minlength=len(self._layers)).tolist()
        hidden: Tensor | None = None
        below = fresh = 0
        for layer, count in enumerate(starting):
            parts = [] if hidden is None else [self._pass(layer, slice(0, below), hidden, fresh)]
            if count:
                parts.append(self._start(layer, slice(below, below + count)))
            if parts:
                hidden = torch.cat(parts)
            below, fresh = below + count, count
        assert hidden is not None
        return hidden

    def _masks_suffice(self, layer: int) -> bool:
        """Whether nothing but the masks is needed of this layer's output."""
        return layer == len(self._layers) - 1 and self._traits.positionwise_head

    def _pass(self, layer: int, rows: slice, hidden: Tensor, fresh: int) -> Tensor:
        """A layer for rows from below, of which the last ``fresh`` started right before it."""
        module = self._layers[layer]
        masks = self._rows.masks[rows]
        with ExitStack() as stack:
            edits = self._rows.edits
            if edits is not None and len((here := edits.of_layer(layer)).row):
                edit = _edit_hook(here, masks)
                stack.enter_context(forward_hooks([(self._projections[layer], edit)]))
            if fresh and self._traits.entries:
                for entry in self._traits.entries[layer]:
                    if not (self._masks_suffice(layer) and entry in self._traits.mask_maps):
                        stack.enter_context(self._known_entry(entry, layer, rows, fresh))
            args, kwargs = self._arguments(layer, rows, hidden)
            if not self._masks_suffice(layer):
                return hidden_of(module(*args, **kwargs))
            if not self._traits.mixers:
                return at_masks(hidden_of(module(*args, **kwargs)), masks)
            for one in self._traits.mask_maps:
                stack.enter_context(replaced_forward(one, _at_masks_only(one.forward, masks)))
            mixed = at_masks(self._mixed(layer, module, args, kwargs), masks)
            return self._behind_mixer(layer, at_masks(hidden, masks), mixed, None)

    def _known_entry(self, entry: nn.Linear, layer: int, rows: slice, fresh: int) -> Any:
        """Runs an entry for fresh rows at the masks alone; the base pass gave the rest."""
        old = rows.stop - fresh
        prompt, masks = self._rows.prompt[old : rows.stop], self._rows.masks[old : rows.stop]
        known, run = self._calls[layer].entered[entry], entry.forward

        def forward(hidden: Tensor) -> Tensor:
            own = run(at_masks(hidden[old:], masks))
            entered = known[prompt].index_put(mask_index(masks), own)
            return torch.cat([run(hidden[:old]), entered]) if old else entered

        return replaced_forward(entry, forward)

    def _mixed(self, layer: int, module: nn.Module, args: Any, kwargs: Any) -> Tensor:
        """What a layer's mixer gives, its layer left as soon as that is known."""
        mixer = self._traits.mixers[layer]
        mix = mixer.forward

        def stop(*args: Any, **kwargs: Any) -> Any:
            raise Reached(mix(*args, **kwargs))

        try:
            with replaced_forward(mixer, stop):
                module(*args, **kwargs)
        except Reached as reached:
            return hidden_of(reached.args[0])
        raise RuntimeError(f"layer {layer} ran without its mixer")

    def _start(self, layer: int, rows: slice) -> Tensor:
        """New rows behind their own layer: the base pass everywhere but at the masks."""
        call, prompt, masks = self._calls[layer], self._rows.prompt[rows], self._rows.masks[rows]
        inputs = call.leaves[call.hidden_leaf]
        if not self._traits.mixers:
            return self._start_whole(layer, rows, inputs[prompt])
        start = self._behind_mixer(
            layer,
            inputs[prompt[:, None], masks],
            hidden_of(call.mixed)[prompt[:, None], masks],
            self._rows.projected[rows],
        )
        if self._masks_suffice(layer):
            return start
        output = hidden_of(call.output)[prompt]
        return output.index_put(mask_index(masks), start.to(output.dtype))

    def _start_whole(self, layer: int, rows: slice, inputs: Tensor) -> Tensor:
        """New rows where no mixer is known: the whole layer again, its neurons' map replaced."""
        masks, projected = self._rows.masks[rows], self._rows.projected[rows]

        def replace(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
            return output.index_put(mask_index(masks), projected.to(output.dtype))

        with forward_hooks([(self._projections[layer], replace)]):
            args, kwargs = self._arguments(layer, rows, inputs)
            output = hidden_of(self._layers[layer](*args, **kwargs))
        return at_masks(output, masks) if self._masks_suffice(layer) else output

    def _arguments(self, layer: int, rows: slice, hidden: Tensor) -> Any:
        """A layer's arguments for rows: what the base pass gave, of each row's own prompt."""
        call, prompt = self._calls[layer], self._rows.prompt[rows]
        leaves = list(call.leaves)
        n_prompts = len(leaves[call.hidden_leaf])
        for i, axis in enumerate(self._traits.batch_axes[layer]):
            # A mask that is the same for all prompts may come with a batch axis of length 1.
            if axis is None or not isinstance(leaves[i], Tensor):
                continue
            if leaves[i].shape[axis] == n_prompts:
                leaves[i] = leaves[i].index_select(axis, prompt)
        leaves[call.hidden_leaf] = hidden
        return tree_unflatten(leaves, call.structure)

    def _behind_mixer(
        self, layer: int, hidden: Tensor, mixed: Tensor, projected: Tensor | None
    ) -> Tensor:
        """What a layer does behind its mixer, at the masks alone: ``[R, M, H]``.

        Args:
            layer: which.
            hidden: the layer's input at the masks ``[R, M, H]``.
            mixed: its mixer's output there ``[R, M, H]``.
            projected: what its neurons' map shall give ``[R, M, H]``; None lets it run.
        """
        call = self._calls[layer]
        leaves = list(call.leaves)
        leaves[call.hidden_leaf] = hidden
        args, kwargs = tree_unflatten(leaves, call.structure)
        with ExitStack() as stack:
            output = with_hidden(call.mixed, mixed)
            stack.enter_context(
                replaced_forward(self._traits.mixers[layer], lambda *_, **__: output)
            )
            if projected is not None:
                given = projected.to(call.projected.dtype)
                stack.enter_context(replaced_forward(self._projections[layer], lambda _: given))
            return hidden_of(self._layers[layer](*args, **kwargs))


def _at_masks_only(run: Callable[[Tensor], Tensor], masks: Tensor) -> Callable[[Tensor], Tensor]:
    """Runs a map at the masks alone; elsewhere stands the first one's, which nobody looks at."""

    def forward(hidden: Tensor) -> Tensor:
        own = run(at_masks(hidden, masks))
        everywhere = own[:, :1].expand(-1, hidden.shape[1], -1)
        return everywhere if own.shape[1] == 1 else everywhere.index_put(mask_index(masks), own)

    return forward


def change_of_output(
    edits: RowEdits, activation: Tensor, weight: Tensor, n_rows: int, like: Tensor
) -> Tensor:
    """What each row's edits add to what its neurons' map gives: ``[R, M, H]``.

    Args:
        edits: K of them, in one layer, of rows from 0 to below R.
        activation: of their neurons, ``[K, M]``.
        weight: of the map, ``[H, I]``.
        n_rows: R.
        like: a tensor of the wanted dtype.
    """
    n_masks = activation.shape[1]
    order = edits.row.argsort(stable=True)
    # Rows of a concept share its neurons. Summed up in bags, they are never spread out: a tensor of
    # [K, M, H] takes gigabytes where hundreds of neurons are edited at once.
    neurons, place = edits.neuron[order].unique(return_inverse=True)
    change = ((edits.factor - 1)[:, None] * activation)[order].to(like.dtype)
    rows = torch.arange(n_rows, device=order.device)
    first = torch.searchsorted(edits.row[order], rows)
    bags = torch.arange(n_masks, device=order.device)[:, None] * len(order) + first
    sums = embedding_bag(
        place.repeat(n_masks),
        weight.T[neurons].to(like.dtype),
        bags.flatten(),
        mode="sum",
        per_sample_weights=change.T.flatten(),
    )
    return sums.view(n_masks, n_rows, -1).transpose(0, 1)


def _edit_hook(edits: RowEdits, masks: Tensor) -> Callable[..., Any]:
    """A hook on the neurons' map of a layer: some of its rows' neurons at the masks are edited."""

    def hook(projection: nn.Linear, args: tuple[Tensor], output: Tensor) -> Tensor:
        n_rows, n_masks = masks.shape
        whole = output.shape[1] > n_masks
        there = masks if whole else torch.arange(n_masks, device=masks.device).expand(n_rows, -1)
        activation = args[0][edits.row[:, None], there[edits.row], edits.neuron[:, None]]
        change = change_of_output(edits, activation, projection.weight, n_rows, output)
        return output.index_put(mask_index(there), change, accumulate=True)

    return hook
