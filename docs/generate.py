"""Tables of flags and columns from the code, and of costs; run at every build."""

from __future__ import annotations

import json
import re
import sys
from argparse import SUPPRESS
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import costs
import yaml
from markdown_table import table


class _Parser(Exception):
    """Carries a script's parser out of its set-up, before anything is parsed."""


def parser_of(script: str) -> Any:
    """The parser of ``analyze`` or ``train``, as the script makes it."""
    from kn_lightning import cli

    kind: Any = {"analyze": cli.AnalyzeCLI, "train": cli.TrainCLI}[script]

    def take(self: Any, parser: Any, args: Any) -> None:
        raise _Parser(parser)

    with (
        mock.patch.object(kind, "parse_arguments", take),
        mock.patch.object(sys, "argv", [f"{script}.py"]),
    ):
        try:
            kind()
        except _Parser as taken:
            return taken.args[0]
    raise AssertionError(f"{script}.py made no parser")


def _cell(value: object) -> str:
    """Text of a table's cell: one line, nothing that ends the cell or begins markup."""
    parts = re.split(r"(``.+?``)", " ".join(str(value).split()))
    return "".join(
        # Code of reStructuredText is code in Markdown, too; there only the bar needs care.
        re.sub(r"\|" if place % 2 else r"([|<*_\[`$])", r"\\\g<0>", part)
        for place, part in enumerate(parts)
    )


def _default(value: object) -> str:
    if value is None:
        return ""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return f"`{text}`".replace("|", "\\|")


def _rows_of(parser: Any, defaults: Any) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Section and row of each flag; flags that only say something of others are left out."""
    for action in parser._actions:
        flags = [
            flag
            for flag in action.option_strings
            if flag.startswith("--") and not flag.endswith((".help", "+"))
        ]
        # Whole sections ("--model CONFIG") are not flags to set.
        whole = type(action).__name__ in ("_ActionConfigLoad", "ActionLink")
        if not flags or flags[0] == "--help" or action.help == SUPPRESS or whole:
            continue
        section = flags[0][2:].rpartition(".")[0].partition(".")[0]
        value = defaults.get(action.dest) if action.dest in defaults else action.default
        says = str(action.help or "").replace("%(default)s", "").strip()
        yield section, (f"`{flags[0]}`", _default(_plain(value)), _cell(says))


def _plain(value: Any) -> Any:
    return value.as_dict() if hasattr(value, "as_dict") else value


def flags(script: str) -> str:
    """All flags of a script by section, with defaults (its config's) and what they mean."""
    parser = parser_of(script)
    defaults = parser.get_defaults(skip_validation=True)
    sections: dict[str, list[tuple[object, ...]]] = {}
    for section, row in _rows_of(parser, defaults):
        sections.setdefault(section, []).append(row)
    own = {name: rows for name, rows in sections.items() if name not in ("trainer",)}
    head = ("flag", "default", "meaning")
    text = ""
    for name in sorted(own, key=lambda name: (name == "", name)):
        text += f"\n### {script}.py: {f'`--{name}.…`' if name else 'general'}\n\n"
        text += table(head, own[name])
    return text + (
        f"\n`--trainer.…` has the {len(sections['trainer'])} arguments of"
        f" `lightning.Trainer`; `python {script}.py --help` lists them.\n"
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
        "analyze.md": flags("analyze"),
        "sources.md": sources(),
        "train.md": flags("train"),
        "columns.md": columns(meanings),
        "costs.md": costs.page(),
    }
    for name, text in parts.items():
        (folder / name).write_text(text, encoding="utf-8")
