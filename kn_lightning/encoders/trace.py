"""What ran in one forward pass: calls of modules in order, and shapes of what they got and gave.

A second pass tells which linear maps are fed from other positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from kn_lightning.encoders.surgery import forward_hooks, forward_pre_hooks

_HELD = 1
"""A position that every prompt has."""


class ModuleCall(NamedTuple):
    """A module's call, and the modules whose calls ended in it, in order."""

    module: nn.Module
    inside: list[nn.Module]


class Trace:
    """One forward pass.

    Args:
        model: whose modules are watched.
        run: runs it once.

    Attributes:
        got: shape of the first tensor of each module's last arguments.
        gave: shape of its first output.
    """

    def __init__(self, model: nn.Module, run: Callable[[], Any]) -> None:
        self.got: dict[nn.Module, torch.Size] = {}
        self.gave: dict[nn.Module, torch.Size] = {}
        self._model = model
        self._events: list[tuple[bool, nn.Module]] = []
        modules = list(model.modules())
        with (
            forward_pre_hooks([(module, self._begin) for module in modules]),
            forward_hooks([(module, self._end) for module in modules]),
        ):
            run()

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._events.append((True, module))
        self._keep(self.got, module, (args, kwargs))

    def _end(self, module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        self._events.append((False, module))
        self._keep(self.gave, module, output)

    @staticmethod
    def _keep(shapes: dict[nn.Module, torch.Size], module: nn.Module, values: Any) -> None:
        first = next((leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)), None)
        if first is not None:
            shapes[module] = first.shape

    def calls_of(self, modules: Iterable[nn.Module]) -> list[ModuleCall]:
        """Calls of some modules in the order in which they began; none where they nest."""
        wanted, found, is_open = set(modules), list[ModuleCall](), False
        for begins, module in self._events:
            if module in wanted:
                if begins and is_open:
                    return []
                is_open = begins
                if begins:
                    found.append(ModuleCall(module, []))
            elif is_open and not begins:
                found[-1].inside.append(module)
        return found

    def stacks(self) -> Iterator[list[ModuleCall]]:
        """Calls of the members of the model's lists; lists of one kind of members go together."""
        members: dict[type, list[nn.Module]] = {}
        for stack in self._model.modules():
            if isinstance(stack, nn.ModuleList) and len({type(member) for member in stack}) == 1:
                members.setdefault(type(stack[0]), []).extend(stack)
        for kind in members.values():
            calls = self.calls_of(kind)
            if calls:
                yield calls


def mixing_maps(model: nn.Module, run: Callable[[], Any]) -> set[nn.Module]:
    """Linear maps that are fed from other positions, as attention's output is.

    The second map of a feed-forward block sees nothing of a position but what the first gives
    there. So what all linear maps give at one position is held while all other tokens change: an
    input that then changes there has come from elsewhere.

    Args:
        model: the masked LM.
        run: runs one forward pass of it, on the same prompts each time.
    """
    held: list[tuple[Tensor, Tensor]] = []
    found: set[nn.Module] = set()
    numbers: Iterator[int]

    def at(tensor: Tensor) -> Tensor:
        return tensor[:, _HELD] if tensor.ndim == 3 and tensor.shape[1] > _HELD else tensor[:0]

    def keep(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        held.append((at(args[0] if args else output), at(output)))

    def hold(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        got, gave = held[next(numbers)]
        if args and not torch.equal(at(args[0]), got):
            found.add(module)
        changed = output.clone()
        at(changed).copy_(gave)
        return changed

    def other_token(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        wave = torch.arange(output.shape[-1], device=output.device).cos()
        changed = output + wave.to(output.dtype)
        at(changed).copy_(at(output))
        return changed

    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    with forward_hooks([(module, keep) for module in linear]):
        run()
    numbers = iter(range(len(held)))
    with forward_hooks(
        [(module, other_token) for module in embeddings] + [(module, hold) for module in linear]
    ):
        run()
    return found
