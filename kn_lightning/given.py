"""What a user has given: the values of a flag, on the command line and in config files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kn_lightning.config_files import Configs, flat_settings
from kn_lightning.data.addresses import public_text
from kn_lightning.secret_names import is_secret

_ENDLESS = re.compile(r"[+-]?\d{300,}")


@dataclass(frozen=True)
class Given:
    """The arguments of a command, and the config files that they name.

    Attributes:
        arguments: the command line.
        configs: as :func:`kn_lightning.config_files.read_configs` gives them.
    """

    arguments: Sequence[str]
    configs: Configs

    def values(self, key: str) -> list[str]:
        """What stands behind the last flag of that name on the command line, up to the next."""
        for number in reversed(range(len(self.arguments))):
            flag, equals, value = self.arguments[number].replace(".init_args", "").partition("=")
            if flag != f"--{key}":
                continue
            values = [value] if equals else []
            for argument in self.arguments[number + 1 :]:
                if argument.startswith("--"):
                    break
                values.append(argument)
            return values
        return []

    def value(self, key: str) -> str | None:
        """The first of them; else what a config file says."""
        values = self.values(key)
        if values:
            return values[0]
        for content in self.configs.values():
            for name, value in flat_settings(content).items():
                if name.replace(".init_args", "") == key and isinstance(value, str):
                    return value
        return None

    def text(self, key: str) -> str:
        """All that a flag was given, or a config file's value as it is written there."""
        if values := self.values(key):
            return " ".join(values)
        for content in self.configs.values():
            for name, value in flat_settings(content).items():
                if name.replace(".init_args", "") == key:
                    return value if isinstance(value, str) else json.dumps(value, default=str)
        return ""

    def place(self, name: str) -> str:
        """A key, and which config file has it, unless a flag of that name was given."""
        if any(argument.partition("=")[0] == f"--{name}" for argument in self.arguments):
            return name
        for path, content in self.configs.items():
            keys = [key.replace(".init_args", "") for key in flat_settings(content)]
            if any(key == name or key.startswith(f"{name}.") for key in keys):
                return f"{name} in {path}"
        return name

    def _settings(self) -> Iterator[tuple[str, str]]:
        """Names with each of their values, on the command line and in config files."""
        flag = ""
        for argument in self.arguments:
            name, equals, value = argument.partition("=")
            flag = name.lstrip("-") if equals or name.startswith("-") else flag
            given = value if equals or name.startswith("-") else argument
            yield flag, given
            if given.startswith(("{", "[")):
                yield from _of_a_text(given)
        for content in self.configs.values():
            yield from _leaves(content)

    def endless(self) -> str:
        """The first number that no float is large enough for, behind its name."""
        found = (
            f"{name} {value[:9]}…" for name, value in self._settings() if _ENDLESS.fullmatch(value)
        )
        return next(found, "an argument")

    def hiding(self, known: Container[str]) -> Callable[[str], str]:
        """What takes secrets out of a text that repeats what was given.

        Secrets are users, passwords and queries of addresses, and the values of what is called like
        a key or a password, nearly at least, and is none of the ``known`` flags.
        """
        secrets = {
            value
            for name, value in self._settings()
            if name not in known and is_secret(name, value, misspelled=True)
        }
        # The longest first: one may be the beginning of another.
        words = "|".join(map(re.escape, sorted(secrets, key=len, reverse=True)))
        pattern = re.compile(rf"(?<![\w.])(?:{words})(?![\w.])") if words else None

        def hidden(text: str) -> str:
            return public_text(text if pattern is None else pattern.sub("…", text))

        return hidden

    def without_secrets(self, hidden: Callable[[str], str]) -> Given:
        """The same, with what :meth:`hiding` gives applied to each text."""
        configs = {path: _applied(hidden, content) for path, content in self.configs.items()}
        return Given([hidden(argument) for argument in self.arguments], configs)


def _leaves(settings: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Names with each of their values; what is in a list has the name of the list."""
    if isinstance(settings, dict):
        for key, inner in settings.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(settings, list):
        for inner in settings:
            yield from _leaves(inner, name)
    else:
        yield name, str(settings)


def _of_a_text(text: str) -> Iterator[tuple[str, str]]:
    """The same of a dictionary or list that is written out behind a flag."""
    with suppress(yaml.YAMLError, RecursionError, ValueError):
        yield from _leaves(yaml.safe_load(text))


def _applied(change: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _applied(change, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_applied(change, inner) for inner in value]
    return change(value) if isinstance(value, str) else value


def is_path(value: str) -> bool:
    """Whether a file or folder has that name."""
    try:
        return Path(value).exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def quoted(value: str) -> str:
    """A value as a shell takes it, where its spaces ask for quotes."""
    return json.dumps(value, ensure_ascii=False) if " " in value else value
