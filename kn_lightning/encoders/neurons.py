"""Neurons seen and changed as whole forward passes run, whatever module they are the input of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from kn_lightning.encoders.surgery import forward_pre_hooks
from kn_lightning.errors import InputError

if TYPE_CHECKING:
    from kn_lightning.encoders.discovery import Structure
    from kn_lightning.encoders.encoder import Encoder
    from kn_lightning.schema import Neuron


def indices_by_layer(
    structure: Structure, neurons: Iterable[Neuron | tuple[int, int]]
) -> dict[int, list[int]]:
    """Neurons' indices by layer; one that is listed twice comes once.

    Raises:
        InputError: a neuron that the encoder doesn't have.
    """
    by_layer: dict[int, list[int]] = {}
    for layer, index in dict.fromkeys(neurons):
        if not (0 <= layer < structure.n_layers and 0 <= index < structure.n_neurons):
            raise InputError(
                f"neuron ({layer}, {index}): this encoder has {structure.n_layers} layers"
                f" of {structure.n_neurons} neurons, both counted from 0"
            )
        by_layer.setdefault(layer, []).append(index)
    return by_layer


@contextmanager
def changed_neurons(
    encoder: Encoder, changes: Mapping[int, Callable[[Tensor], Tensor]]
) -> Iterator[None]:
    """Within the block, neurons are put through changes in each forward pass.

    Args:
        encoder: whose neurons.
        changes: layer -> function of its neurons ``[B, T, I]``, giving as many.
    """
    structure = encoder.structure
    layers: dict[nn.Module, list[int]] = {}
    for layer, projection in enumerate(structure.projections):
        layers.setdefault(projection, []).append(layer)
    calls: Counter[nn.Module] = Counter()

    def begin(*_: Any) -> None:
        calls.clear()  # here, not at a pass's end: one that fails doesn't come to it

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # A shared projection is that of one layer after another.
        layer = layers[module][calls[module]]
        calls[module] += 1
        if layer not in changes:
            return None
        neurons = args[0].mT if structure.channels_first else args[0]
        changed = changes[layer](neurons)
        return (changed.mT if structure.channels_first else changed, *args[1:]), kwargs

    touched = dict.fromkeys(structure.projections[layer] for layer in changes)
    with forward_pre_hooks([(encoder.model, begin), *((module, hook) for module in touched)]):
        yield
