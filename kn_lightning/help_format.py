"""``--help`` in a user's words: types, defaults and classes as a command line has them."""

from __future__ import annotations

import json
import pydoc
import re
from argparse import Action, RawDescriptionHelpFormatter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from kn_lightning.flags import is_abstract, settable

_OWN = "kn_lightning."
_CLASS = re.compile(r"<class '(?:\w+\.)*(\w+)'>")
_ROLE = re.compile(r":[\w:]+:`~?(?:\w+\.)*(\w+)`")
_KNOWN = ", known subclasses: "
_LINKED = re.compile(r"Group '\w+': All arguments are derived from links\.")
_DEFAULT_FILES = re.compile(r"\['(.+)'\], Note: default values below .*", re.DOTALL)
_HELP_OF_CLASS = re.compile(r"Help for (--\S+)\.help=(\S+)")


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's help without Python's own names, with lines of description and examples kept.

    What nobody can give is left out: links between flags, and sections that have none.
    """

    def add_text(self, text: str | None) -> None:
        """A description; jsonargparse's own are said shorter, or not at all."""
        text = text or ""
        text = _DEFAULT_FILES.sub(r"\1, whose values are the defaults below", text)
        text = _HELP_OF_CLASS.sub(lambda found: f"{found[1]} {_class_name(found[2])}:", text)
        if text and not _LINKED.match(text):
            super().add_text(text)

    def add_usage(self, usage: str | None, actions: Iterable[Action], *args: Any) -> None:
        """The first lines."""
        super().add_usage(usage, settable(actions), *args)

    def add_arguments(self, actions: Iterable[Action]) -> None:
        """A section."""
        super().add_arguments(settable(actions))

    def _get_type_str(self, action: Action) -> str | None:
        text = super()._get_type_str(action)
        return text and re.sub(r"\bPath\b", "path", _CLASS.sub(r"\1", text))

    def _get_help_string(self, action: Action) -> str:
        text: str = super()._get_help_string(action)
        before, known, names = text.rstrip(")").partition(_KNOWN)
        if known:
            text = f"{before}{_KNOWN}{', '.join(_known(names.split(', ')))})"
        # Here jsonargparse has put the default of config files in place of the signature's.
        return text.replace("%(default)s", value_text(action.default))

    def _expand_help(self, action: Action) -> str:
        return plain_text(super()._expand_help(action))


class HelpedParser(ArgumentParser):
    """A parser with that help; so are those that it makes for the help of a class."""

    def __init__(
        self, *args: Any, formatter_class: type[HelpFormatter] = HelpFormatter, **kwargs: Any
    ) -> None:
        super().__init__(*args, formatter_class=formatter_class, **kwargs)


def plain_text(text: str) -> str:
    """Help without roles of reStructuredText, such as those of Lightning's docstrings."""
    return _ROLE.sub(r"\1", text)


def value_text(value: Any) -> str:
    """A flag's value as it is written on a command line; of a class its name alone."""
    value = value.as_dict() if hasattr(value, "as_dict") else value
    if isinstance(value, dict) and "class_path" in value:
        return _class_name(value["class_path"])
    if isinstance(value, (str, Path)):
        return str(value)
    return json.dumps(value, default=str, ensure_ascii=False)


def _class_name(path: str) -> str:
    """Of one of this package its name alone, which is enough for a flag."""
    return path.rpartition(".")[2] if path.startswith(_OWN) else path


def _known(names: list[str]) -> list[str]:
    """Classes that a flag takes, of the names that jsonargparse knows; a base is none of them."""
    if not names[0].startswith(_OWN):
        return [name for name in names if not name.startswith(_OWN)]  # ours have sections
    return [_class_name(name) for name in names if not is_abstract(pydoc.locate(name))]
