"""Which flags a parser has, for what is said of a wrong one."""

from __future__ import annotations

import inspect
from argparse import Action
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jsonargparse import ArgumentParser


@dataclass(frozen=True)
class Flags:
    """What a command can be given; keys are names of flags without their dashes.

    Attributes:
        usage: the command with what it needs, such as ``analyze.py report RUN_DIR``.
        kinds: of each key its type in words, such as ``list[int] | None``.
        several: keys that take several values, with spaces between.
        words: names of what stands without a flag, such as ``run_dir``, in their order.
        classes: for each key that takes a class, the names of those and the keys that each has.
    """

    usage: str
    kinds: Mapping[str, str]
    several: frozenset[str]
    words: tuple[str, ...]
    classes: Mapping[str, Mapping[str, frozenset[str]]]

    def is_list(self, key: str) -> bool:
        """Whether a flag takes a list in brackets, and nothing else but null."""
        kind = self.kinds.get(key, "").replace("typing.", "").removeprefix("Optional[").lower()
        return kind.startswith(("list[", "tuple[", "sequence["))


def flags_of(parser: ArgumentParser, bases: Mapping[str, type]) -> Flags:
    """The flags of a parser, those of the classes included.

    Args:
        parser: with all of its arguments.
        bases: for each key that takes a class, what that is a subclass of.
    """
    actions = parser._actions
    words = tuple(action.dest for action in actions if not action.option_strings)
    several = frozenset(action.dest for action in actions if action.nargs == "+")
    needed = [
        f"--{action.dest} VALUE{' VALUE' * (action.dest in several)}"
        for action in actions
        if action.required and action.dest not in words
    ]
    kinds = {
        flag[2:]: str(getattr(action, "_typehint", action.type))
        for action in actions
        for flag in action.option_strings
        if flag.startswith("--") and not flag.endswith("+")
    }
    classes: dict[str, dict[str, frozenset[str]]] = {}
    for key, base in bases.items():
        own = {kind.__name__: _parameters(kind, key) for kind in subclasses(base)}
        classes[key] = {name: frozenset(parameters) for name, parameters in own.items()}
        for parameters in own.values():
            kinds |= parameters
    return Flags(
        " ".join([parser.prog, *(word.upper() for word in words), *needed]),
        kinds,
        several,
        words,
        classes,
    )


def subclasses(kind: type) -> list[type]:
    """All of them that can be made, at any depth."""
    found: list[type] = []
    own: type
    for own in kind.__subclasses__():
        found += [] if is_abstract(own) else [own]
        found += subclasses(own)
    return found


def is_abstract(kind: object) -> bool:
    """Whether a class lacks a method that it has to have.

    A DataModule's metaclass is not ABCMeta, so ``inspect.isabstract`` knows nothing of it.
    """
    return any(
        getattr(getattr(kind, name, None), "__isabstractmethod__", False) for name in dir(kind)
    )


def settable(actions: Iterable[Action]) -> list[Action]:
    """Of a parser's arguments those that can be given: no links, no sections without flags."""
    own = [action for action in actions if type(action).__name__ != "ActionLink"]
    names = [action.dest for action in own]
    return [
        action
        for action in own
        if type(action).__name__ != "_ActionConfigLoad"
        or any(name.startswith(f"{action.dest}.") for name in names)
    ]


def _parameters(kind: type, key: str) -> dict[str, str]:
    """The keys of what a class takes, or gives on to those above it, with their types."""
    return {
        f"{key}.{name}": str(parameter.annotation)
        for base in kind.__mro__
        for name, parameter in inspect.signature(base.__init__).parameters.items()  # type: ignore[misc]
        if name not in ("self", "args", "kwargs")
    }
