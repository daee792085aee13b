"""A masked LM -> where its layers and neurons are, found by what happens in one forward pass.

No line per architecture: a layer is an element of the list of equal modules that runs through the
encoder, and its neurons are the input of the widest linear map from another width to the hidden
size that runs in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from kn_lightning.encoders.surgery import forward_hooks
from kn_lightning.errors import InputError


@dataclass(frozen=True)
class Structure:
    """Layers in order, and the linear map of each whose inputs are its neurons.

    Attributes:
        layers: L modules.
        projections: L linear maps, ``in_features`` = I neurons, ``out_features`` = H.
        names: the projections' names in the model.
    """

    layers: tuple[nn.Module, ...]
    projections: tuple[nn.Linear, ...]
    names: tuple[str, ...]

    @property
    def n_layers(self) -> int:
        """L."""
        return len(self.layers)

    @property
    def n_neurons(self) -> int:
        """I, neurons of one layer."""
        return self.projections[0].in_features

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.projections[0].out_features


def discover(model: nn.Module, run: Callable[[], Any], hidden_size: int) -> Structure:
    """Find layers and neurons.

    Args:
        model: the masked LM, in eval mode.
        run: runs one forward pass of it on any input.
        hidden_size: H, as its config says.

    Raises:
        InputError: no list of layers fits; the message says what was seen.
    """
    called: list[nn.Module] = []
    with forward_hooks([(module, lambda m, *_: called.append(m)) for module in model.modules()]):
        run()
    times = Counter(called)

    candidates = []
    seen = []
    for name, stack in model.named_modules():
        if not isinstance(stack, nn.ModuleList) or not len(stack):
            continue
        seen.append(f"{name} ({len(stack)} x {type(stack[0]).__name__})")
        projections = [_projection(layer, called, hidden_size) for layer in stack]
        if all(times[layer] == 1 for layer in stack) and all(projections):
            found = tuple(projection for projection in projections if projection is not None)
            candidates.append(Structure(tuple(stack), found, ()))
    if not candidates:
        raise InputError(
            f"{type(model).__name__}: found no list of layers that each run once and have a linear"
            f" map from a block's width to the hidden size {hidden_size}; lists seen:"
            f" {', '.join(seen) or 'none'}"
        )
    best = max(candidates, key=lambda s: sum(p.numel() for m in s.layers for p in m.parameters()))
    return _checked(model, best, times)


def _projection(layer: nn.Module, called: list[nn.Module], hidden_size: int) -> nn.Linear | None:
    inside = set(layer.modules())
    maps = [
        module
        for module in called
        if module in inside
        and isinstance(module, nn.Linear)
        and module.out_features == hidden_size
        # A square map is attention's output, the last one where a block comes first or has another
        # kind of map; its inputs would pass all checks and be no neurons.
        and module.in_features != hidden_size
    ]
    # The widest, and the last of those: adapters have narrow maps of their own behind the block's.
    return max(reversed(maps), key=lambda module: module.in_features, default=None)


def _checked(model: nn.Module, structure: Structure, times: Counter[nn.Module]) -> Structure:
    names = {module: name for name, module in model.named_modules()}
    widths = {projection.in_features for projection in structure.projections}
    if len(widths) != 1:
        raise InputError(
            f"{type(model).__name__}: layers differ in their neurons: {sorted(widths)}"
        )
    for projection in structure.projections:
        if times[projection] != 1:
            raise InputError(
                f"{type(model).__name__}: {names[projection]} runs {times[projection]} times a"
                " pass; a neuron is defined where it runs once"
            )
    return Structure(
        structure.layers, structure.projections, tuple(names[p] for p in structure.projections)
    )
