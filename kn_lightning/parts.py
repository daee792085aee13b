"""Packs of a study on disk while it runs: each a folder by its number, whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kn_lightning.census import RECORD, digest, part_name, part_number, scores_file
from kn_lightning.files import move_whole


def write_part(
    parts: Path,
    number: int,
    tables: dict[str, pa.Table],
    seconds: dict[str, float],
    scores: bytes | None = None,
) -> None:
    """Put one pack on disk: all of it, or nothing.

    Args:
        parts: the folder of all.
        number: of the pack.
        tables: its rows, by name.
        seconds: that it took, by stage.
        scores: its file of scores, which lies elsewhere.
    """
    part = parts / part_name(number)
    temporary = part.with_name(f"{part.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed with the same id
    temporary.mkdir()
    for name, table in tables.items():
        pq.write_table(table, temporary / f"{name}.parquet")
    record: dict[str, Any] = {
        "seconds": seconds,
        "sha256": {file.name: digest(file) for file in sorted(temporary.iterdir())},
    }
    if scores is not None:
        record["scores"] = hashlib.sha256(scores).hexdigest()
    (temporary / RECORD).write_text(json.dumps(record), encoding="utf-8")
    try:
        move_whole(temporary, part)
    except OSError:
        if not part.is_dir():
            raise
        # A rank that outlived its killed run was quicker, with the same.
        shutil.rmtree(temporary)


def finished(parts: Path) -> frozenset[int]:
    """Numbers of the packs that are there."""
    if not parts.is_dir():
        return frozenset()
    numbers = (part_number(part.name) for part in parts.iterdir())
    return frozenset(number for number in numbers if number is not None)


def joined_records(parts: Sequence[Path]) -> tuple[dict[str, float], dict[str, str]]:
    """What packs took together, by stage; and the SHA-256 of their kept scores, by file."""
    seconds: Counter[str] = Counter()
    scores: dict[str, str] = {}
    for part in parts:
        record = json.loads((part / RECORD).read_text(encoding="utf-8"))
        seconds.update(record["seconds"])
        if "scores" in record:
            scores[scores_file(int(part.name))] = record["scores"]
    return dict(seconds), scores
