"""The environment in ``summary.json`` → the tables of settings, versions and times."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.listing import Listing
from kn_lightning.report.numerals import count, seconds

_TITLES = {
    "study": "Study",
    "encoder": "Encoder",
    "data": "Data",
    "machine": "Machine and versions",
}


def settings(environment: dict[str, Any]) -> dict[str, Listing]:
    """One table a part of the environment, every key of it a row, and one of the times."""
    parts = {name: environment[name] for name in ("study", "encoder", "data")}
    parts["machine"] = {
        **{key: environment[key] for key in ("platform", "device", "devices", "precision")},
        **environment["versions"],
    }
    tables = {
        name: Listing(
            _TITLES[name],
            ("Setting", "Value"),
            tuple((key, _text(value)) for key, value in part.items()),
            n_words=2,
        )
        for name, part in parts.items()
    }
    times = environment.get("seconds") or {}
    rows = tuple((stage, seconds(value)) for stage, value in times.items())
    return {**tables, "seconds": Listing("Time", ("Stage", "Time"), rows)}


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, int):
        return count(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
