"""A masked LM -> where its layers and neurons are, found by what happens in one forward pass.

A layer is a call of a member of the lists of equal modules that run through the encoder, and its
neurons are the input of the widest linear map from another width to the hidden size that runs in
it and is fed from its own position alone, as attention's output is not; where no layer has such a
map, the block may be as wide as the hidden size, and its second map is the last behind attention's
output. A layer that is called several times, as ALBERT's, counts as often. Where an architecture
differs, its row (:data:`~kn_lightning.encoders.rows.ROWS`) names the maps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from kn_lightning.encoders.rows import Row, remedy
from kn_lightning.encoders.trace import ModuleCall, Trace, mixing_maps
from kn_lightning.errors import InputError


@dataclass(frozen=True)
class Structure:
    """Layers in the order of their calls, and the map of each whose inputs are its neurons.

    Attributes:
        projections: L maps from I neurons to H; one that is called several times stands there as
            often.
        layers: L modules with one projection each; empty where there is no such list, and whole
            forward passes alone can be run.
        names: the projections' names in the model.
        n_neurons: I, of one layer.
        hidden_size: H, the width of what a projection gives.
        channels_first: the projections get ``[B, I, T]``.
    """

    projections: tuple[nn.Module, ...]
    layers: tuple[nn.Module, ...]
    names: tuple[str, ...]
    n_neurons: int
    hidden_size: int
    channels_first: bool = False

    @property
    def n_layers(self) -> int:
        """L."""
        return len(self.projections)

    @property
    def linear_maps(self) -> tuple[nn.Linear, ...]:
        """The projections, if all are plain linear maps; else none."""
        maps = tuple(module for module in self.projections if isinstance(module, nn.Linear))
        return maps if len(maps) == len(self.projections) else ()


def discover(
    model: nn.Module, run: Callable[[], Any], hidden_size: int, row: Row | None = None
) -> Structure:
    """Find layers and neurons.

    Args:
        model: the masked LM, in eval mode.
        run: runs one forward pass of it, on the same prompts each time.
        hidden_size: H, as its config says.
        row: of its architecture, where there is one.

    Raises:
        InputError: no list of layers fits; the message says what was seen, and what to do.
    """
    trace = Trace(model, run)
    if row is not None and row.second_map:
        return _named(model, trace, row)
    mixing, candidates = mixing_maps(model, run), []
    for projection_of in (_projection, _square_projection):
        for calls in trace.stacks():
            projections = [projection_of(call, hidden_size, mixing) for call in calls]
            found = [projection for projection in projections if projection is not None]
            if len(found) == len(calls):
                candidates.append((calls, found))
        if candidates:
            break
    else:
        seen = [
            f"{name} ({len(stack)} x {type(stack[0]).__name__})"
            for name, stack in model.named_modules()
            if isinstance(stack, nn.ModuleList) and len(stack)
        ]
        raise InputError(
            f"{type(model).__name__}: found no list of layers that each have a linear map from a"
            f" block's width to the hidden size {hidden_size}, fed from its own position alone;"
            f" lists seen: {', '.join(seen) or 'none'}. {remedy(model)}"
        )
    calls, found = max(candidates, key=lambda one: (_size(one[0]), len(one[0])))
    return _checked(model, trace, found, calls)


def _projection(
    call: ModuleCall, hidden_size: int, mixing: Container[nn.Module]
) -> nn.Linear | None:
    maps = [
        module
        for module in call.inside
        if isinstance(module, nn.Linear)
        and module.out_features == hidden_size
        # Attention's output may be wider than the block; its inputs would pass all checks and be
        # no neurons. Square maps are its queries, keys and values too.
        and module not in mixing
        and module.in_features != hidden_size
    ]
    # The widest, and the last of those: adapters have narrow maps of their own behind the block's.
    return max(reversed(maps), key=lambda module: module.in_features, default=None)


def _square_projection(
    call: ModuleCall, hidden_size: int, mixing: Container[nn.Module]
) -> nn.Linear | None:
    """The second map of a block as wide as the hidden size, which is also that of attention's."""
    maps = [module for module in call.inside if isinstance(module, nn.Linear)]
    mixed = [place for place, module in enumerate(maps) if module in mixing]
    behind = maps[mixed[-1] + 1 :] if mixed else []
    if len(behind) != 2 or (behind[1].in_features, behind[1].out_features) != (hidden_size,) * 2:
        return None
    return behind[1]


def _size(calls: list[ModuleCall]) -> int:
    layers = {call.module for call in calls}
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


def _named(model: nn.Module, trace: Trace, row: Row) -> Structure:
    """The structure that a row names; layers where each has one of the maps."""
    assert row.second_map is not None
    named = {m for name, m in model.named_modules() if re.fullmatch(row.second_map, name)}
    found = [call.module for call in trace.calls_of(named)]
    if not found:
        raise InputError(
            f"{type(model).__name__}: no module that runs is called {row.second_map}."
            f" {remedy(model)}"
        )
    for calls in trace.stacks():
        inside = [[module for module in call.inside if module in named] for call in calls]
        if [*map(len, inside)] == [1] * len(found):
            return _checked(model, trace, found, calls, row.channels_first)
    return _checked(model, trace, found, [], row.channels_first)


def _checked(
    model: nn.Module,
    trace: Trace,
    projections: Sequence[nn.Module],
    calls: Sequence[ModuleCall],
    channels_first: bool = False,
) -> Structure:
    names = {module: name for name, module in model.named_modules()}
    axis = 1 if channels_first else -1
    widths = {
        (trace.got[projection][axis], trace.gave[projection][axis]) for projection in projections
    }
    if len(widths) != 1:
        raise InputError(
            f"{type(model).__name__}: layers differ in their neurons:"
            f" {sorted(width for width, _ in widths)}. {remedy(model)}"
        )
    for call, projection in zip(calls, projections, strict=bool(calls)):
        times = call.inside.count(projection)
        if times != 1:
            raise InputError(
                f"{type(model).__name__}: {names[projection]} runs {times} times in a layer; a"
                f" neuron is defined where it runs once. {remedy(model)}"
            )
    return Structure(
        tuple(projections),
        tuple(call.module for call in calls),
        tuple(names[projection] for projection in projections),
        *widths.pop(),
        channels_first,
    )
