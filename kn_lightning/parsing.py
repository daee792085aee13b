"""What jsonargparse says of flags and configs -> one line: key, value, place and remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kn_lightning.environment import flat_settings
from kn_lightning.errors import InputError, nearest

Configs = dict[Path, dict[str, Any]]

_KINDS = {
    "int": "a whole number",
    "float": "a number such as 0.5",
    "bool": "true or false",
    "str": "a text",
    "NoneType": "null",
    "List": "a list",
    "list": "a list",
}
_KEY = re.compile(r'Parser key "([^"]+)"')
_FLAG = re.compile(r"argument --([\w.]+): expected")
_REQUIRED = re.compile(r"the following arguments are required: ([\w.]+)")
_UNKNOWN = re.compile(
    r"(?:unrecognized arguments: |ambiguous option: |accept option '|Option '|Key ')([^\s']+)"
)
_GROUP = re.compile(r"Group '([\w.]+)'")
_EXPECTED = re.compile(r"Expected an? (?:<class '(\w+)'>|typing\.Literal\[([^\]]*)\]|(List)\b)")
_VALUE = re.compile(r"(?:Got value|Given value): (.+?)(?= - Expected| Given value|$)")
_CLASS = re.compile(r"(?:Expected a dot import path string: |Import path | class_path )'?([\w.]+)")


def read_configs(arguments: Sequence[str]) -> Configs:
    """The config files that a command line names.

    Raises:
        InputError: one can't be read, is no YAML, or has no keys with values.
    """
    return {path: read_config(path) for path in _named(arguments)}


def _named(arguments: Sequence[str]) -> Iterator[Path]:
    for number, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag in ("--config", "-c"):
            yield from map(Path, [value] if equals else arguments[number + 1 : number + 2])


def read_config(path: Path) -> dict[str, Any]:
    """The keys and values of a config file.

    Raises:
        InputError: it can't be read, is no YAML, or has no keys with values.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"config {path}: {error.strerror}; give a YAML file") from error
    except (ValueError, RecursionError) as error:  # ValueError: a date such as 2000-13-01, too
        raise InputError(f"config {path}: no YAML in UTF-8 ({error})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or "a character that YAML doesn't have"
        raise InputError(f"config {path}{place}: no YAML ({problem})") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(
            f"config {path}: {str(content)!r:.60} instead of keys with values; write such as"
            " 'refine: {share: 0.5}'"
        )
    return content


def refusal(
    message: str,
    arguments: Sequence[str],
    configs: Configs,
    known: Iterable[str],
    classes: Mapping[str, Iterable[str]],
) -> InputError:
    """The error that a user reads for what jsonargparse says.

    Args:
        message: its own, which may be a page.
        arguments: the command line.
        configs: what :func:`read_configs` gave.
        known: keys of all flags, without dashes.
        classes: names of the classes that a key takes.
    """
    text = " ".join(message.split())
    key = ".".join(dict.fromkeys(_KEY.findall(text)))
    return InputError(_Complaint(text, key, arguments, configs, known, classes).line())


@dataclass(frozen=True)
class _Complaint:
    """What jsonargparse says in one line, and what it is about; ``key`` where it names one."""

    text: str
    key: str
    arguments: Sequence[str]
    configs: Configs
    known: Iterable[str]
    classes: Mapping[str, Iterable[str]]

    def line(self) -> str:
        """In the words of the first kind that it is of, else in its own."""
        kinds = (self._unknown, self._missing, self._no_class, self._no_value, self._wrong_kind)
        said = next(filter(None, (kind() for kind in kinds)), None)
        if said is not None:
            return said
        return f"{self._named(self.key)}: {self.text:.300}" if self.key else f"{self.text:.300}"

    def _unknown(self) -> str | None:
        found = _UNKNOWN.search(self.text)
        if found is None:
            return None
        word = found[1]
        if self.text.startswith("unrecognized") and not word.startswith("-"):
            return f"{word}: no flag takes it; write --NAME VALUE, and a list as [one,two]"
        group = _GROUP.search(self.text)
        parts = (self.key, "" if group is None else group[1], word.lstrip("-").partition("=")[0])
        name = ".".join(filter(None, parts))
        return f"{self._named(name)}: unknown{nearest(name, self.known)}; --help lists all"

    def _missing(self) -> str | None:
        found = _REQUIRED.search(self.text)
        if found is None:
            return None
        name = f"{self.key}.{found[1]}".lstrip(".")
        return f"{self._named(name)} is missing: give --{name} VALUE"

    def _no_class(self) -> str | None:
        found = _CLASS.search(self.text)
        if (
            found is None
            or self.key not in self.classes
            or "Parser key" in self.text[found.end() :]
        ):
            return None
        names = sorted(self.classes[self.key])
        return (
            f"{self._named(self.key)} {found[1]}: no such class{nearest(found[1], names)};"
            f" choose from {', '.join(names)}"
        )

    def _no_value(self) -> str | None:
        found = _FLAG.search(self.text)
        if found is None:
            return None
        flag = f"--{found[1]}"
        pairs = zip(self.arguments, self.arguments[1:], strict=False)
        # argparse takes what begins with a dash and is no number for the next flag.
        values = [b for a, b in pairs if a == flag and not b.startswith("--")]
        example = f"{flag}={values[0]}" if values else f"{flag} VALUE"
        return f"{self._named(found[1])}: no value; write {example}"

    def _wrong_kind(self) -> str | None:
        value = _VALUE.search(self.text)
        kinds: dict[str, None] = {}
        for name, choices, items in _EXPECTED.findall(self.text):
            if choices:
                kinds |= dict.fromkeys(choice.strip(" '\"") for choice in choices.split(","))
            elif (name or items) in _KINDS:
                kinds[_KINDS[name or items]] = None
        if value is None or not kinds:
            return None
        # The section itself may be null, which helps nobody.
        if len(kinds) > 1 and "." not in self.key:
            kinds.pop("null", None)
        return f"{self._named(self.key)} {value[1]!r:.60}: give {' or '.join(kinds)}"

    def _named(self, name: str) -> str:
        """A key, and which config file has it, unless a flag of that name was given."""
        if any(argument.partition("=")[0] == f"--{name}" for argument in self.arguments):
            return name
        for path, content in self.configs.items():
            keys = [key.replace(".init_args", "") for key in flat_settings(content)]
            if any(key == name or key.startswith(f"{name}.") for key in keys):
                return f"{name} in {path}"
        return name
