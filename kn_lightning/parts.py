"""Packs of a study on disk: each a folder by its number, whole or not there; joined at the end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kn_lightning.census import RECORD, study_of
from kn_lightning.digests import digest
from kn_lightning.files import move_whole, named_errors
from kn_lightning.keys import with_keys
from kn_lightning.part_names import part_name, part_number, scores_file
from kn_lightning.schema import ASKED_BY, TABLES, completed


def write_part(
    parts: Path,
    number: int,
    tables: dict[str, pa.Table],
    seconds: dict[str, float],
    study: str,
    scores: bytes | None,
    kept: Callable[[int], str | None],
) -> None:
    """Put one pack on disk: all of it, or nothing.

    Args:
        parts: the folder of all.
        number: of the pack.
        tables: its rows, by name.
        seconds: that it took, by stage.
        study: SHA-256 of its study's identity.
        scores: its file of scores, which lies elsewhere.
        kept: the SHA-256 of the scores that lie there by now, by the number of their pack.
    """
    part = parts / part_name(number)
    temporary = part.with_name(f"{part.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed with the same id
    temporary.mkdir()
    for name, table in tables.items():
        with named_errors(file := temporary / f"{name}.parquet"):
            pq.write_table(table, file)
    record: dict[str, Any] = {
        "study": study,
        "seconds": seconds,
        "sha256": {file.name: digest(file) for file in sorted(temporary.iterdir())},
    }
    if scores is not None:
        record["scores"] = hashlib.sha256(scores).hexdigest()
    with named_errors(temporary / RECORD):
        (temporary / RECORD).write_text(json.dumps(record), encoding="utf-8")
    try:
        move_whole(temporary, part)
    except OSError:
        # A command that has begun meanwhile removes temporary folders; then nothing is to be moved.
        if not (part.is_dir() and temporary.is_dir()):
            raise
        # A rank that outlived its killed run was quicker. Of this study it has the same, but
        # maybe rounded otherwise: then its rows don't belong to the scores that are there.
        if study_of(part) == study and (
            scores is None or joined_records([part])[1] == {scores_file(number): kept(number)}
        ):
            shutil.rmtree(temporary, ignore_errors=True)
        else:  # or of one that --overwrite has removed
            shutil.rmtree(part)
            move_whole(temporary, part)


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


def joined_rows(
    parts: Sequence[Path], name: str, identity: Mapping[str, Any]
) -> Iterable[pa.Table]:
    """A table of the study, part by part: one at a time is in memory.

    Args:
        parts: folders of all packs, in their order.
        name: of the table.
        identity: settings of the study, by which it was asked for.
    """
    tables: Iterator[pa.Table] = (pq.read_table(part / f"{name}.parquet") for part in parts)
    if name in TABLES:
        tables = (completed(table, TABLES[name]) for table in tables)
    if name == "values":
        tables = with_keys(tables, parts, identity[ASKED_BY[name]])
    return tables


def write_rows(tables: Iterable[pa.Table], path: Path) -> Path:
    """Put tables of one schema into one file."""
    writer: pq.ParquetWriter | None = None
    with named_errors(path):
        try:
            for table in tables:
                writer = writer or pq.ParquetWriter(path, table.schema)
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
    return path
