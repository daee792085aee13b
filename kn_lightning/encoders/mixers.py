"""Where a layer's positions see each other: found by trying, not by an architecture's names.

A *mixer* is the child of a layer that moves content between positions: self-attention. What its
linear maps compute of a position alone is known from the base pass, and in the last layer what they
compute elsewhere than at the mask doesn't matter. The contract verifies every guess made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from kn_lightning.core.forward import TokenBatch
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.hooked import mask_index
from kn_lightning.encoders.surgery import (
    forward_hooks,
    forward_pre_hooks,
    hidden_of,
    with_hidden,
)


def mixer_names(encoder: Encoder, batch: TokenBatch) -> Iterator[str]:
    """Children of the layers that give hidden states, in the order in which they run."""
    first = encoder.structure.layers[0]
    outputs: list[tuple[str, Any]] = []

    def keep(name: str) -> Any:
        return lambda _, __, output: outputs.append((name, output))

    children = [(child, keep(name)) for name, child in first.named_children()]
    with forward_hooks(children), torch.no_grad():
        encoder.logits(batch)
    shape = (*batch.input_ids.shape, encoder.structure.hidden_size)
    for name, output in dict(outputs).items():  # once, where layers share them
        if hidden_of(output).shape == shape and all(
            hasattr(layer, name) for layer in encoder.structure.layers
        ):
            yield name


def known_maps(
    encoder: Encoder, mixers: tuple[nn.Module, ...], batch: TokenBatch
) -> tuple[tuple[tuple[nn.Linear, ...], ...], tuple[nn.Linear, ...]]:
    """Linear maps of the mixers, found by trying: a layer's entries, and the last one's mask maps.

    Entries see each position alone; what mask maps give elsewhere doesn't reach the mask.
    """
    layer, mixer = encoder.structure.layers[-1], mixers[-1]
    linear = {name: m for name, m in mixer.named_modules() if isinstance(m, nn.Linear)}
    times = encoder.structure.layers.count(layer)
    elsewhere = torch.ones_like(batch.input_ids, dtype=torch.bool)
    elsewhere[mask_index(batch.mask_positions)] = False

    def run(changed: nn.Module | None, where: Tensor) -> dict[nn.Module, Tensor]:
        """Outputs of all maps and of the mixer, one module's input or output changed somewhere."""
        outputs: dict[nn.Module, Tensor] = {}
        calls = 0  # of the layer: one that is shared is changed in its last

        def begin(*_: Any) -> None:
            nonlocal calls
            calls += 1

        def keep(module: nn.Module, _: Any, output: Any) -> Any:
            hidden = hidden_of(output)
            if module is changed and calls == times:
                hidden = hidden + _bump(where, hidden)
            outputs[module] = hidden
            return with_hidden(output, hidden)

        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if calls < times:
                return None
            leaves, structure = tree_flatten((args, kwargs))
            place = next(i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor))
            leaves[place] = leaves[place] + _bump(where, leaves[place])
            return tree_unflatten(leaves, structure)

        entering: list[tuple[nn.Module, Any]] = [(layer, begin)]
        entering += [(layer, enter)] if changed is layer else []
        hooks = [(module, keep) for module in (*linear.values(), mixer)]
        with torch.no_grad(), forward_pre_hooks(entering), forward_hooks(hooks):
            encoder.logits(batch)
        return outputs

    plain, behind_mask = run(None, elsewhere), run(layer, ~elsewhere)
    positions = {
        name: module
        for name, module in linear.items()
        if module in plain and plain[module].shape[:2] == elsewhere.shape
    }
    entries = [
        name
        for name, module in positions.items()
        if torch.equal(plain[module][elsewhere], behind_mask[module][elsewhere])
    ]
    mask_maps = [
        module
        for module in positions.values()
        if torch.equal(plain[mixer][~elsewhere], run(module, elsewhere)[mixer][~elsewhere])
    ]
    every = tuple(tuple(m.get_submodule(name) for name in entries) for m in mixers)
    return every, tuple(mask_maps)  # type: ignore[return-value]


def _bump(where: Tensor, hidden: Tensor) -> Tensor:
    """A change of hidden states ``where`` ``[B, T]``; no constant, which a norm would take out."""
    wave = torch.arange(hidden.shape[-1], device=hidden.device).cos()
    return where[..., None] * wave.to(hidden.dtype)
