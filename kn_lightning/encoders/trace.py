"""What ran in one forward pass: calls of modules in order, and shapes of what they got and gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from kn_lightning.encoders.surgery import forward_hooks, forward_pre_hooks


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
