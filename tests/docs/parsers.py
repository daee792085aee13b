"""What each command takes, by its own parser: for what the documentation says of it."""

from __future__ import annotations

import sys
from argparse import SUPPRESS, _HelpAction
from functools import cache
from typing import Any
from unittest import mock

import analyze
import train

_OF_THE_TRAINER = "--trainer."


class _Asked(Exception):
    """Carries a parser out of a command."""


def commands() -> list[str]:
    """All of them: the two scripts, and what ``analyze.py`` does besides."""
    return ["analyze.py", *(f"analyze.py {name}" for name in analyze.COMMANDS), "train.py"]


@cache
def parser(name: str) -> Any:
    """The parser that a command asks for its ``--help``."""

    def ask(self: Any, *_: object, **__: object) -> str:
        raise _Asked(self)

    script, *rest = name.split()
    main = train.train if script == "train.py" else analyze.main
    with (
        mock.patch("jsonargparse.ArgumentParser.format_help", ask),
        mock.patch.object(sys, "argv", [script, *rest, "--help"]),
    ):
        try:
            main()
        except _Asked as asked:
            return asked.args[0]
    raise AssertionError(f"{name} has no help")


def arguments(name: str) -> list[str]:
    """Names of a command's positional arguments, in capitals, and of its flags.

    Those of Lightning's trainer, which has its own documentation, are left out of the scripts'.
    """
    found = []
    for action in parser(name)._actions:
        kind = type(action).__name__
        if isinstance(action, _HelpAction) or "Link" in kind or action.help == SUPPRESS:
            continue
        if not action.option_strings:
            found.append(action.dest.upper())
            continue
        flag = max(action.option_strings, key=lambda text: (text[-1] != "+", len(text)))
        of_trainer = flag.startswith(_OF_THE_TRAINER) and name in ("analyze.py", "train.py")
        section = "ConfigLoad" in kind  # takes a file with its flags
        if not (of_trainer or section or flag.endswith(".help")):
            found.append(flag)
    return found
