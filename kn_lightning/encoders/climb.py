"""Rows that start behind the layer that they change, and climb the layers together.

A change at layer l's mask leaves the layers up to l alone, so rows for layer l need only what
follows. Walking up once, the rows of each layer are appended to those from below (the staircase):
one pass and one backward serve all layers, nodes and prompts in few, large matrix products. Layers
are black boxes, called again with the arguments that the base pass gave them.

In the layer right behind its own, a row differs from the base pass at the mask alone: all that its
entries (queries, keys, values) give elsewhere is known. In the last layer nothing but the mask is
wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_unflatten

from kn_lightning.core.edits import RowEdits
from kn_lightning.encoders.calls import LayerCall
from kn_lightning.encoders.hooked import at_mask
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
        mask: its mask's position, ``[R]``.
        layer: where they start, ``[R]``.
        projected: what that layer's neurons' map gives at the mask, ``[R, H]``.
        edits: of layers behind the first.
    """

    prompt: Tensor
    mask: Tensor
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
        """Behind the last layer: ``[R, 1, H]`` where the mask suffices, else ``[R, T, H]``."""
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

    def _mask_suffices(self, layer: int) -> bool:
        """Whether nothing but the mask is needed of this layer's output."""
        return layer == len(self._layers) - 1 and self._traits.positionwise_head

    def _pass(self, layer: int, rows: slice, hidden: Tensor, fresh: int) -> Tensor:
        """A layer for rows from below, of which the last ``fresh`` started right before it."""
        module = self._layers[layer]
        mask = self._rows.mask[rows]
        with ExitStack() as stack:
            if self._rows.edits is not None:
                edit = _edit_hook(self._rows.edits, layer, mask)
                stack.enter_context(forward_hooks([(self._projections[layer], edit)]))
            if fresh and self._traits.entries:
                for entry in self._traits.entries[layer]:
                    if not (self._mask_suffices(layer) and entry in self._traits.mask_maps):
                        stack.enter_context(self._known_entry(entry, layer, rows, fresh))
            args, kwargs = self._arguments(layer, rows, hidden)
            if not self._mask_suffices(layer):
                return hidden_of(module(*args, **kwargs))
            if not self._traits.mixers:
                return at_mask(hidden_of(module(*args, **kwargs)), mask)[:, None]
            for one in self._traits.mask_maps:
                stack.enter_context(replaced_forward(one, _at_mask_only(one.forward, mask)))
            mixed = at_mask(self._mixed(layer, module, args, kwargs), mask)
            return self._behind_mixer(layer, at_mask(hidden, mask), mixed, None)

    def _known_entry(self, entry: nn.Linear, layer: int, rows: slice, fresh: int) -> Any:
        """Runs an entry for fresh rows at the mask alone; the base pass gave the rest."""
        old = rows.stop - fresh
        prompt, mask = self._rows.prompt[old : rows.stop], self._rows.mask[old : rows.stop]
        known, run = self._calls[layer].entered[entry], entry.forward

        def forward(hidden: Tensor) -> Tensor:
            own = run(at_mask(hidden[old:], mask))
            at = torch.arange(fresh, device=mask.device)
            entered = known[prompt].index_put((at, mask), own)
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
        """New rows behind their own layer: the base pass everywhere but at the mask."""
        call, prompt, mask = self._calls[layer], self._rows.prompt[rows], self._rows.mask[rows]
        inputs = call.leaves[call.hidden_leaf]
        if not self._traits.mixers:
            return self._start_whole(layer, rows, inputs[prompt])
        start = self._behind_mixer(
            layer,
            inputs[prompt, mask],
            hidden_of(call.mixed)[prompt, mask],
            self._rows.projected[rows],
        )
        if self._mask_suffices(layer):
            return start
        output = hidden_of(call.output)[prompt]
        at = torch.arange(len(mask), device=mask.device)
        return output.index_put((at, mask), start[:, 0].to(output.dtype))

    def _start_whole(self, layer: int, rows: slice, inputs: Tensor) -> Tensor:
        """New rows where no mixer is known: the whole layer again, its neurons' map replaced."""
        mask, projected = self._rows.mask[rows], self._rows.projected[rows]

        def replace(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
            at = torch.arange(len(mask), device=mask.device)
            return output.index_put((at, mask), projected.to(output.dtype))

        with forward_hooks([(self._projections[layer], replace)]):
            args, kwargs = self._arguments(layer, rows, inputs)
            output = hidden_of(self._layers[layer](*args, **kwargs))
        return at_mask(output, mask)[:, None] if self._mask_suffices(layer) else output

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
        """What a layer does behind its mixer, at the mask alone: ``[R, 1, H]``.

        Args:
            layer: which.
            hidden: the layer's input at the mask ``[R, H]``.
            mixed: its mixer's output there ``[R, H]``.
            projected: what its neurons' map shall give ``[R, H]``; None lets it run.
        """
        call = self._calls[layer]
        leaves = list(call.leaves)
        leaves[call.hidden_leaf] = hidden[:, None]
        args, kwargs = tree_unflatten(leaves, call.structure)
        with ExitStack() as stack:
            output = with_hidden(call.mixed, mixed[:, None])
            stack.enter_context(
                replaced_forward(self._traits.mixers[layer], lambda *_, **__: output)
            )
            if projected is not None:
                given = projected[:, None].to(call.projected.dtype)
                stack.enter_context(replaced_forward(self._projections[layer], lambda _: given))
            return hidden_of(self._layers[layer](*args, **kwargs))


def _at_mask_only(run: Callable[[Tensor], Tensor], mask: Tensor) -> Callable[[Tensor], Tensor]:
    """Runs a map at the mask alone; everywhere else stands the same, which nobody looks at."""

    def forward(hidden: Tensor) -> Tensor:
        return run(at_mask(hidden, mask))[:, None].expand(-1, hidden.shape[1], -1)

    return forward


def change_of_output(edits: RowEdits, activation: Tensor, weight: Tensor, like: Tensor) -> Tensor:
    """What each edit adds to what its neurons' map gives, ``[K, H]`` of the dtype of ``like``.

    Args:
        edits: K of them, in one layer.
        activation: of their neurons, ``[K]``.
        weight: of the map, ``[H, I]``.
        like: a tensor of the wanted dtype.
    """
    change = ((edits.factor - 1) * activation).to(like.dtype)
    return change[:, None] * weight[:, edits.neuron].T.to(like.dtype)


def _edit_hook(edits: RowEdits, layer: int, mask: Tensor) -> Callable[..., Any]:
    """A hook on the neurons' map of a layer: some of its rows' neurons at the mask are edited."""
    here = RowEdits(*(column[edits.layer == layer] for column in edits))

    def hook(projection: nn.Linear, args: tuple[Tensor], output: Tensor) -> Tensor:
        position = mask if output.shape[1] > 1 else torch.zeros_like(mask)
        activation = args[0][here.row, position[here.row], here.neuron]
        change = torch.zeros_like(output[:, 0]).index_add(
            0, here.row, change_of_output(here, activation, projection.weight, output)
        )
        rows = torch.arange(len(mask), device=mask.device)
        return output.index_put((rows, position), change, accumulate=True)

    return hook
