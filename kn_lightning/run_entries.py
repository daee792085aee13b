"""Entries of a run folder on disk: which there are, read, written and removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kn_lightning.claim import HOLDER, LOCK, identity_of
from kn_lightning.digests import digest, with_own_digest
from kn_lightning.files import names_below, remove_entry, write_whole
from kn_lightning.part_names import scores_file
from kn_lightning.run_names import ENVIRONMENT
from kn_lightning.schema import SCHEMA_VERSION


class RunEntries:
    """What lies in a run folder.

    Attributes:
        name: what a user calls it.

    Args:
        path: the folder; may be there or not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def publish(self, *names: str) -> None:
        """Bring files, or all in a folder, to where the run lies; those of a local one are there.

        Args:
            names: relative to the run folder.
        """

    def write_environment(self, environment: dict[str, Any]) -> None:
        """Replace ``environment.json``."""
        record = with_own_digest({"schema_version": SCHEMA_VERSION, **environment})
        write_whole(
            self.path / ENVIRONMENT, json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        )

    def environment(self) -> dict[str, Any]:
        """What ``environment.json`` says."""
        record: dict[str, Any] = json.loads((self.path / ENVIRONMENT).read_text(encoding="utf-8"))
        return record

    def _identity(self) -> dict[str, Any] | None:
        return identity_of(self.path / ENVIRONMENT, self.name)

    def _names(self, *inner: str) -> set[str]:
        """Of what lies in the folder, or, with their own, in folders of it."""
        return names_below(self.path, *inner) - {LOCK, HOLDER}

    def _remove(self, name: str) -> None:
        remove_entry(self.path / name, self.path)

    def _write_scores(self, name: str, content: bytes) -> None:
        write_whole(self.path / name, content)

    def _scores_sha256(self, number: int) -> str | None:
        path = self.path / scores_file(number)
        return digest(path) if path.is_file() else None
