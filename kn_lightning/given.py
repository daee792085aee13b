"""What a user has given: the values of a flag, on the command line and in config files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kn_lightning.config_files import Configs, flat_settings


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

    def place(self, name: str) -> str:
        """A key, and which config file has it, unless a flag of that name was given."""
        if any(argument.partition("=")[0] == f"--{name}" for argument in self.arguments):
            return name
        for path, content in self.configs.items():
            keys = [key.replace(".init_args", "") for key in flat_settings(content)]
            if any(key == name or key.startswith(f"{name}.") for key in keys):
                return f"{name} in {path}"
        return name


def is_path(value: str) -> bool:
    """Whether a file or folder has that name."""
    try:
        return Path(value).exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def quoted(value: str) -> str:
    """A value as a shell takes it, where its spaces ask for quotes."""
    return json.dumps(value, ensure_ascii=False) if " " in value else value
