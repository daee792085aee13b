"""W&B runs on disk, read back."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

from .commands import REPOSITORY

OFFLINE = ("--config", REPOSITORY / "configs/logger/wandb.yaml", "--trainer.logger.offline", "true")


def records(path: Path) -> Iterator[Any]:
    """The protobuf records of a ``.wandb`` file: LevelDB's log format behind 7 bytes."""
    data, place, record = path.read_bytes(), 7, b""
    while place < len(data):
        if (rest := 32768 - place % 32768) < 7:  # no header fits into the rest of the block
            place += rest
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            parsed = wandb_internal_pb2.Record()
            parsed.ParseFromString(record)
            record = b""
            yield parsed


def of_kind(run: list[Any], kind: str) -> list[Any]:
    return [getattr(record, kind) for record in run if record.WhichOneof("record_type") == kind]


def values(updates: Any) -> dict[str, Any]:
    """Items of a config, summary or history record, nested keys joined with a dot."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in updates}
