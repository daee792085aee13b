"""A forward pass -> how it called each layer, so that layers can be called again as black boxes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map_only

from kn_lightning.encoders.surgery import forward_hooks, forward_pre_hooks

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder


@dataclass
class LayerCall:
    """How one pass called a layer.

    Attributes:
        leaves: the arguments, flat; the first tensor among them is the hidden states ``[B, T, H]``.
        structure: how to put the arguments together again.
        output: what the layer gave.
        mixed: what its mixer gave, or None.
        projected: what its neurons' map gave, ``[B, T, H]``.
        entered: what each of its entries gave, ``[B, T, ...]``.
    """

    leaves: list[Any]
    structure: TreeSpec
    output: Any = None
    mixed: Any = None
    projected: Any = None
    entered: dict[nn.Module, Tensor] = field(default_factory=dict)

    @property
    def hidden_leaf(self) -> int:
        """Index of the hidden states among the leaves."""
        return next(i for i, leaf in enumerate(self.leaves) if isinstance(leaf, Tensor))

    def detached(self) -> LayerCall:
        """The same without any graph."""
        return LayerCall(
            *(
                tree_map_only(Tensor, Tensor.detach, getattr(self, name.name))
                for name in fields(self)
            )
        )


@contextmanager
def recorded_calls(encoder: Encoder) -> Iterator[list[LayerCall]]:
    """Within the block, note how a forward pass calls each layer."""
    calls: list[LayerCall] = []

    def begin(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(LayerCall(*tree_flatten((args, kwargs))))

    def keep(name: str) -> Any:
        return lambda _, __, output: setattr(calls[-1], name, output)

    structure, traits = encoder.structure, encoder.traits
    # Layers may share their modules.
    layers = dict.fromkeys(structure.layers)
    entries = dict.fromkeys(entry for entries in traits.entries for entry in entries)
    hooks = [(layer, keep("output")) for layer in layers]
    hooks += [(mixer, keep("mixed")) for mixer in dict.fromkeys(traits.mixers)]
    hooks += [(module, keep("projected")) for module in dict.fromkeys(structure.projections)]
    hooks += [
        (entry, lambda module, _, output: calls[-1].entered.update({module: output}))
        for entry in entries
    ]
    with forward_pre_hooks([(layer, begin) for layer in layers]), forward_hooks(hooks):
        yield calls
