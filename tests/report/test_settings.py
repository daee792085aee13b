"""The environment of a run → the tables of settings."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.settings import settings


def test_nested_settings_are_rows_of_their_own(environment: dict[str, Any]) -> None:
    environment["data"]["origin"] = {
        "url": "https://example.org/data.zip",
        "files": ["a.jsonl", "b.jsonl"],
        "bytes": 2797995,
        "more": {"part": None},
    }
    rows = dict(settings(environment)["data"].rows)
    assert {key: value for key, value in rows.items() if key.startswith("origin")} == {
        "origin.url": "https://example.org/data.zip",
        "origin.files": "a.jsonl, b.jsonl",
        "origin.bytes": "2,797,995",
        "origin.more.part": "none",
    }
    assert rows["class"] == "EmbeddedPrompts"
