"""Tables of flags and columns from the code, and of costs; run at every build."""

from __future__ import annotations

import re
import sys
from argparse import SUPPRESS
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import costs
import yaml
from markdown_table import table

from kn_lightning.flags import settable
from kn_lightning.help_format import plain_text, value_text

SCRIPTS = ("analyze.py", "train.py")
"""Commands that are the whole of a script."""


class _Parser(Exception):
    """Carries a command's parser out of its set-up, before anything is parsed."""


def commands() -> dict[str, Callable[[], None]]:
    """All commands, such as ``analyze.py report``, and what each one runs."""
    import analyze
    import train

    further = {f"analyze.py {name}": run for name, run in analyze.COMMANDS.items()}
    return {"analyze.py": analyze.analyze, **further, "train.py": train.train}


def parser_of(name: str) -> Any:
    """The parser of a command, as the command makes it.

    Raises:
        AssertionError: it parses nothing.
    """
    from jsonargparse import ArgumentParser

    def take(self: Any, *_: Any, **__: Any) -> None:
        raise _Parser(self)

    with (
        mock.patch.object(ArgumentParser, "parse_args", take),
        mock.patch.object(sys, "argv", name.split()),
    ):
        try:
            commands()[name]()
        except _Parser as taken:
            return taken.args[0]
    raise AssertionError(f"{name} has no parser")


def _cell(value: object) -> str:
    """Text of a table's cell: one line, nothing that ends the cell or begins markup."""
    parts = re.split(r"(``.+?``)", " ".join(str(value).split()))
    return "".join(
        # Code of reStructuredText is code in Markdown, too; there only the bar needs care.
        re.sub(r"\|" if place % 2 else r"([|<*_\[`$])", r"\\\g<0>", part)
        for place, part in enumerate(parts)
    )


def _default(value: object) -> str:
    if value in (None, SUPPRESS):
        return ""
    return f"`{value_text(value)}`".replace("|", "\\|")


def _rows_of(parser: Any, defaults: Any) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Section and row of each argument; flags that only say something of others are left out."""
    for action in settable(parser._actions):
        flags = [
            flag
            for flag in action.option_strings
            if flag.startswith("--") and not flag.endswith((".help", "+"))
        ]
        # Whole sections ("--model CONFIG") are not flags to set.
        if type(action).__name__ == "_ActionConfigLoad" or flags[:1] == ["--help"]:
            continue
        if action.help == SUPPRESS or (action.option_strings and not flags):
            continue
        name = flags[0] if flags else action.dest.upper()
        section = name[2:].rpartition(".")[0].partition(".")[0] if flags else ""
        value = "" if action.required else defaults.get(action.dest, action.default)
        says = re.sub(r" *%\(default\)s", "", plain_text(str(action.help or ""))).strip()
        default = "required" if action.required else _default(value)
        yield section, (f"`{name}`", default, _cell(says))


def flags(name: str) -> str:
    """What a command takes by section, with defaults (its config's) and what they mean."""
    parser = parser_of(name)
    defaults = parser.get_defaults(skip_validation=True)
    sections: dict[str, list[tuple[object, ...]]] = {}
    for section, row in _rows_of(parser, defaults):
        sections.setdefault(section, []).append(row)
    # The scripts' own trainer has all of Lightning's arguments, which are documented there.
    n_trainers = len(sections.pop("trainer")) if name in SCRIPTS else 0
    text = ""
    for section, rows in sorted(sections.items()):
        if len(sections) > 1:
            text += f"\n### {name}: {f'`--{section}.…`' if section else 'general'}\n"
        text += "\n" + table(("flag", "default", "meaning"), rows)
    if n_trainers:
        text += (
            f"\n`--trainer.…` has the {n_trainers} arguments of `lightning.Trainer`;"
            f" `python {name} --help` lists them.\n"
        )
    return text


def further_commands() -> str:
    """What each command takes that is no script of its own."""
    return "".join(
        f"\n## Flags of {name}\n\n{_cell(parser_of(name).description)}\n{flags(name)}"
        for name in commands()
        if name not in SCRIPTS
    )


def sources() -> str:
    """The flags of each class that ``--data`` takes in ``analyze.py``."""
    from jsonargparse import ArgumentParser

    from kn_lightning.data.modules import PromptGroups
    from kn_lightning.flags import subclasses

    text = ""
    for kind in subclasses(PromptGroups):
        if not kind.__module__.startswith("kn_lightning."):
            continue
        parser = ArgumentParser()
        parser.add_class_arguments(kind, "data")
        rows = [row for _, row in _rows_of(parser, parser.get_defaults())]
        text += (
            f"\n### `--data {kind.__name__}`\n\n{_cell((kind.__doc__ or '').split('Args:')[0])}\n\n"
        )
        text += table(("flag", "default", "meaning"), rows)
    return text


def columns(meanings: dict[str, dict[str, str]]) -> str:
    """Every table's columns, with types from the schema and meanings from ``columns.yaml``.

    Raises:
        ValueError: where the schema and the meanings don't name the same columns.
    """
    from kn_lightning.formation_tables import TABLES as FORMATION
    from kn_lightning.schema import ASKED_BY, OPTIONAL_TABLES, SKIPPED_TABLE, TABLES

    tables = {**TABLES, **OPTIONAL_TABLES, "skipped": SKIPPED_TABLE, **FORMATION}
    text = ""
    for name, schema in tables.items():
        said = {**meanings["every"], **meanings.get(name, {})}
        if missing := [column for column in schema.names if column not in said]:
            raise ValueError(f"columns.yaml: say what {missing} of {name} are")
        if unknown := set(meanings.get(name, {})) - set(schema.names):
            raise ValueError(f"columns.yaml: {name} has no {sorted(unknown)}")
        asked = f" (with `--{ASKED_BY[name]}`)" if name in ASKED_BY else ""
        text += f"\n### {name}.parquet{asked}\n\n"
        text += table(
            ("column", "type", "meaning"),
            [(f"`{field.name}`", f"`{field.type}`", said[field.name]) for field in schema],
        )
    every = {column for schema in tables.values() for column in schema.names}
    if unknown := set(meanings["every"]) - every:
        raise ValueError(f"columns.yaml: no table has {sorted(unknown)}")
    return text


def write_all(folder: Path) -> None:
    """Write all generated parts into a folder."""
    folder.mkdir(exist_ok=True)
    meanings = yaml.safe_load((Path(__file__).parent / "columns.yaml").read_text(encoding="utf-8"))
    parts = {
        "analyze.md": flags("analyze.py"),
        "sources.md": sources(),
        "commands.md": further_commands(),
        "train.md": flags("train.py"),
        "columns.md": columns(meanings),
        "costs.md": costs.page(),
    }
    for name, text in parts.items():
        (folder / name).write_text(text, encoding="utf-8")
