"""Config files -> their keys and values; what is no such file is refused with its line."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from kn_lightning.errors import InputError
from kn_lightning.files import check_whole

Configs = dict[Path, dict[str, Any]]
_NULL, _MAP = "tag:yaml.org,2002:null", "tag:yaml.org,2002:map"
_MERGE = "<<"
_OF_A_CLASS = ("init_args", "dict_kwargs")
_SECTIONS = frozenset(
    ("trainer", "model", "data", "refine", "edit", "weights", "values", "write", "progress")
    + ("track", "export", "formation")
)
"""Flags that take a file with the keys below their own."""
_SUFFIXES = (".yaml", ".yml", ".json")
_MOST_VALUES = 100_000
"""Of a config file; it may be of a few lines that name one another."""


def read_configs(arguments: Sequence[str]) -> Configs:
    """The config files that a command line names, those of a section below its key.

    Raises:
        InputError: one can't be read, is no YAML, or has no keys with values.
    """
    found: Configs = {}
    for section, path in _named(arguments):
        content = read_config(path)
        found[path] = {section: content} if section else content
        for name in _SECTIONS & found[path].keys():
            inner = found[path][name]
            if isinstance(inner, str) and _is_of_section(name, path.parent / inner):
                found[path.parent / inner] = {name: read_config(path.parent / inner)}
    return found


def _is_of_section(section: str, path: Path) -> bool:
    """Whether a section's value is a file with its keys; for data one of prompts is a slip."""
    prompts = section == "data" and path.is_file() and path.suffix.lower() not in _SUFFIXES
    return os.path.lexists(path) and not path.is_dir() and not prompts


def _named(arguments: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Config files, each behind the section that it is for, which is "" for all."""
    for number, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        values = [value] if equals else arguments[number + 1 : number + 2]
        section = flag.removeprefix("--")
        if section in _SECTIONS and flag != section:
            yield from (
                (section, Path(value)) for value in values if _is_of_section(section, Path(value))
            )
        if flag == "-config":  # for argparse -c onfig
            raise InputError("-config: write --config FILE, with two hyphens")
        # A flag may be cut short where no other begins so.
        if flag == "-c" or (flag.startswith("--c") and "--config".startswith(flag)):
            yield from (("", Path(value)) for value in values)


def read_config(path: Path) -> dict[str, Any]:
    """The keys and values of a config file.

    Raises:
        InputError: it can't be read, is no YAML, or has no keys with values.
    """
    check_whole("config", path)  # it is read twice
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        n_values = _n_values(content, {})
        twice = _twice(yaml.compose(text, Loader=yaml.SafeLoader), set())
    except OSError as error:
        raise InputError(f"config {path}: {error.strerror}; give a YAML file") from error
    except RecursionError as error:
        raise InputError(
            f"config {path}: nested too deep, or an anchor within itself; write it without"
        ) from error
    except ValueError as error:  # a date such as 2000-13-01, too
        raise InputError(f"config {path}: no YAML in UTF-8 ({error})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or "a character that YAML doesn't have"
        raise InputError(f"config {path}{place}: no YAML ({problem})") from error
    if twice is not None:
        line = twice.start_mark.line + 1
        raise InputError(
            f"config {path}, line {line}: {twice.value} is there a second time, and of two values"
            " one would be lost; write it once"
        )
    if n_values > _MOST_VALUES:
        raise InputError(f"config {path}: its anchors make {n_values:,} values; write it without")
    try:
        json.dumps(content, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"config {path}: half of an emoji ({error}); write it whole") from error
    if (key := _no_text(content)) is not None:
        raise InputError(f"config {path}: {key!r:.60} instead of a key's name; put it in quotes")
    if not isinstance(content, dict):
        raise InputError(
            f"config {path}: {str(content)!r:.60} instead of keys with values; write such as"
            " 'refine: {share: 0.5}'"
        )
    return content


def _n_values(settings: Any, known: dict[int, int | None]) -> int:
    """How many values there are, written out without anchors.

    Args:
        settings: nested.
        known: of what has been counted, by its id; None of what is being counted.

    Raises:
        RecursionError: an anchor is within itself, or it is nested too deep.
    """
    if not isinstance(settings, (dict, list)):
        return 1
    if id(settings) not in known:
        known[id(settings)] = None
        inner = settings.values() if isinstance(settings, dict) else settings
        known[id(settings)] = 1 + sum(_n_values(value, known) for value in inner)
    if (n_values := known[id(settings)]) is None:
        raise RecursionError
    return n_values


def _twice(node: yaml.Node | None, known: set[int]) -> yaml.ScalarNode | None:
    """A key that its mapping has already; ``known``: nodes that have been looked at."""
    if not isinstance(node, yaml.CollectionNode) or id(node) in known:
        return None
    known.add(id(node))
    inner = list(node.value)
    if isinstance(node, yaml.MappingNode):
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        names = set()
        for key in keys:
            if key.value in names and key.value != _MERGE:
                return key
            names.add(key.value)
        inner = [value for _, value in node.value]
    return next(filter(None, (_twice(part, known) for part in inner)), None)


def _no_text(settings: Any) -> Any:
    """A key that isn't a text, of nested settings; None where all are (null is "null")."""
    found: Iterator[Any]
    if isinstance(settings, list):
        found = map(_no_text, settings)
    elif isinstance(settings, dict):
        found = (
            _no_text(value) if isinstance(key, str) else "null" if key is None else key
            for key, value in settings.items()
        )
    else:
        return None
    return next((key for key in found if key is not None), None)


def with_empty_sections(content: str, sections: Container[str]) -> str:
    """A config whose empty sections, such as those with all keys commented out, set nothing.

    jsonargparse takes such a section for null, which has none of the keys that are looked up in
    it, and a file of nothing else for a text.

    Args:
        content: YAML, as :func:`read_config` takes it.
        sections: names of the keys at the top that hold others.

    Returns:
        The same with ``{}`` for them and for empty arguments of a class, and null spelled out.
    """
    document = yaml.compose(content, Loader=yaml.SafeLoader)
    _fill(document, sections)
    return str(yaml.serialize(document, Dumper=yaml.SafeDumper))


def _fill(node: yaml.Node | None, sections: Container[str]) -> None:
    """Put something where nothing stands for a value; ``sections``: keys of this node."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _fill(item, _OF_A_CLASS)
    if not isinstance(node, yaml.MappingNode):
        return
    for number, (key, value) in enumerate(node.value):
        if value.tag == _NULL:
            section = key.value in sections
            full = yaml.MappingNode(_MAP, []) if section else yaml.ScalarNode(_NULL, "null")
            node.value[number] = (key, full)
        else:
            _fill(value, _OF_A_CLASS)


def flat_settings(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    if not isinstance(settings, dict):
        return {prefix[:-1]: settings}
    return {
        key: value
        for name, inner in settings.items()
        for key, value in flat_settings(inner, f"{prefix}{name}.").items()
    }
