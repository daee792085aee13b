"""Temporary changes to a model, each undone when its ``with`` block ends, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten


class Reached(Exception):
    """Carries what was computed out of a model, of which nothing more is needed."""


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """``module(...)`` calls ``forward(...)`` instead of its own code; its hooks still run."""
    before = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


@contextmanager
def forward_pre_hooks(
    hooks: list[tuple[nn.Module, Callable[..., Any]]],
) -> Iterator[None]:
    """Each ``hook(module, args, kwargs)`` runs before its module; what it returns replaces both."""
    handles = []
    try:
        for module, hook in hooks:
            handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def forward_hooks(hooks: list[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
    """Each ``hook(module, args, output)`` runs after its module and may replace the output."""
    handles = []
    try:
        for module, hook in hooks:
            handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def hidden_of(output: Any) -> Tensor:
    """The hidden states in a layer's output: the output itself, or its first tensor."""
    return next(leaf for leaf in tree_flatten(output)[0] if isinstance(leaf, Tensor))


def with_hidden(output: Any, hidden: Tensor) -> Any:
    """``output`` with its hidden states replaced by ``hidden``."""
    leaves, structure = tree_flatten(output)
    place = next(i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor))
    return tree_unflatten([*leaves[:place], hidden, *leaves[place + 1 :]], structure)
