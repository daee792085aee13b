"""The environment in ``summary.json`` → the tables of settings, versions and times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kn_lightning.report.language import say
from kn_lightning.report.listing import Listing
from kn_lightning.report.numerals import count, seconds


def settings(environment: dict[str, Any]) -> dict[str, Listing]:
    """One table a part of the environment, every key of it a row, and one of the times."""
    titles = {
        "study": say("Study"),
        "encoder": say("Encoder"),
        "data": say("Data"),
        "machine": say("Machine and versions"),
    }
    parts = {name: environment[name] for name in ("study", "encoder", "data")}
    parts["machine"] = {
        **{key: environment[key] for key in ("platform", "device", "devices", "precision")},
        **environment["versions"],
    }
    tables = {
        name: Listing(
            titles[name],
            (say("Setting"), say("Value")),
            tuple(_rows(part)),
            n_words=2,
        )
        for name, part in parts.items()
    }
    times = environment.get("seconds") or {}
    rows = tuple((stage, seconds(value)) for stage, value in times.items())
    return {**tables, "seconds": Listing(say("Time"), (say("Stage"), say("Time")), rows)}


def _rows(part: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """A row a value; the keys of nested ones are joined by dots, as in a flag."""
    for key, value in part.items():
        if isinstance(value, dict):
            yield from _rows(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", _text(value)


def _text(value: object) -> str:
    if value is None or value == []:
        return say("none")
    if isinstance(value, bool):
        return say("yes") if value else say("no")
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, int):
        return count(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
