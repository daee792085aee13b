"""What lies among a run's parts against its study's plan and against what was written there."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Callable, Collection, Sequence, Set
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kn_lightning.digests import SECONDS, digest
from kn_lightning.errors import InputError
from kn_lightning.part_names import part_number, scores_file
from kn_lightning.schema import OPTIONAL_TABLES, TABLES

RECORD = "pack.json"
"""File of a part: the SHA-256 of its ``study``, ``seconds`` by stage, ``sha256`` of its other files
by name, and of its scores ``scores``, where they are kept."""

_OF_PART = re.compile(rf"{re.escape(RECORD)}|({'|'.join((*TABLES, *OPTIONAL_TABLES))})\.parquet")
"""Files of a part."""

_TEMPORARY = re.compile(r"\d{6,}\.\d+\.tmp", re.ASCII)


def is_temporary(path: Path) -> bool:
    """Whether that is a part on its way, or what a process that was killed has left of one."""
    return _TEMPORARY.fullmatch(path.name) is not None and path.is_dir()


def check_names(parts: Path, n_packs: float = math.inf) -> None:
    """Raise InputError where something lies there that is no part, nor on its way to be one.

    Args:
        parts: folder with one folder a pack.
        n_packs: of the study.
    """
    foreign = [
        path.name
        for path in sorted(parts.iterdir())
        if not (is_temporary(path) or (_at(path) < n_packs and _is_folder(path)))
        and os.path.lexists(path)  # one on its way may have come to its place meanwhile
    ]
    if foreign:
        raise not_of_the_study(parts / ", ".join(foreign))


def check_inside(parts: Path) -> None:
    """Raise InputError where a part that is to be removed holds what no study writes there.

    Args:
        parts: folder with nothing but parts.
    """
    for part in sorted(parts.iterdir()):
        if part_number(part.name) is None:  # on its way; a rank that outlived its command writes it
            continue
        foreign = [
            file.name
            for file in sorted(part.iterdir())
            if not (_OF_PART.fullmatch(file.name) and _is_file(file))
        ]
        if foreign:
            raise not_of_the_study(part / ", ".join(foreign))


def _is_folder(path: Path) -> bool:
    """Whether that is one here, and no link to one elsewhere."""
    return path.is_dir() and not path.is_symlink()


def _at(part: Path) -> float:
    number = part_number(part.name)
    return math.inf if number is None else number


def check_all(finished: Set[int], n_packs: int, name: str) -> None:
    """Raise InputError where a pack of the run of that name is missing."""
    missing = set(range(n_packs)) - finished
    if missing:
        raise InputError(
            f"run_dir {name}: {len(missing)} of {n_packs} packs are not computed yet; run the same"
            " command again, without a limit on batches"
        )


def not_of_the_study(what: str | Path) -> InputError:
    """What is said of a strange entry among a study's parts."""
    return InputError(
        f"{what} is none of this study's; move it elsewhere, then run the same command"
    )


def study_of(part: Path) -> str | None:
    """The SHA-256 of the study that a part is of; None where it doesn't say."""
    try:
        study = json.loads((part / RECORD).read_text(encoding="utf-8"))["study"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return study if isinstance(study, str) else None


def check_parts(
    parts: Path,
    plan: Sequence[Sequence[str]],
    study: str,
    files: Collection[str],
    scores: Callable[[int], str | None],
    name: Callable[[int], str],
) -> None:
    """Raise InputError unless all that lies there was written there for this plan, and is whole.

    Args:
        parts: folder with one folder a pack, by its number.
        plan: of each pack, the ids of its prompts in order.
        study: the SHA-256 of its identity.
        files: names of a part's tables.
        scores: the SHA-256 of the scores of a pack, by its number; None where there are none.
        name: what a user calls the part of a pack, by its number.
    """
    check_names(parts, len(plan))
    for part in sorted(parts.iterdir()):
        number = part_number(part.name)
        fault = None if number is None else _fault(part, plan[number], study, files, scores)
        if number is not None and fault is not None:
            raise faulty(name(number), fault)


def faulty(part: str, fault: str) -> InputError:
    """What is said of a part that doesn't hold what it should."""
    return InputError(
        f"{part} {fault}; delete it to have that pack computed again, then run the same command"
    )


def _fault(
    part: Path,
    prompt_ids: Sequence[str],
    study: str,
    files: Collection[str],
    scores: Callable[[int], str | None],
) -> str | None:
    try:
        # Before any is opened: a pipe waits for its other end.
        if odd := sorted(file.name for file in part.iterdir() if not _is_file(file)):
            return f"is torn: {', '.join(odd)} is no file"
        record = json.loads((part / RECORD).read_text(encoding="utf-8"))
        if record["study"] != study:
            return "is of another study"
        if not all(map(_is_time, record[SECONDS].values())):
            return f"is torn: {SECONDS} of its {RECORD} are no numbers"
        if lacking := sorted({*files} - {*record["sha256"]}):
            return f"is torn: {', '.join(lacking)} is missing"
        there = {file.name: digest(file) for file in part.iterdir() if file.name != RECORD}
        if there != record["sha256"]:
            names = sorted(
                {name for name, _ in there.items() ^ record["sha256"].items()},
            )
            return f"is torn: {', '.join(names)} is not as it was written"
        number = int(part.name)
        if "scores" in record and (kept := scores(number)) != record["scores"]:
            said = "missing" if kept is None else "not as they were written"
            return f"is torn: its scores, {scores_file(number)}, are {said}"
        found = pq.read_table(part / "prompts.parquet", columns=["prompt_id", "concept"])
        if found["prompt_id"].to_pylist() != list(prompt_ids):
            return "holds other prompts than this study has there"
        return next(filter(None, (_orphan(part / name, found) for name in sorted(there))), None)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # Without its path: a part at an address is read from a copy.
        said = str(error).replace(f"{part}{os.sep}", "")
        return f"is torn ({' '.join(said.split())})"


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _is_time(value: Any) -> bool:
    """Whether that can be seconds."""
    return type(value) in (int, float) and 0 <= value < 1e12


def _orphan(path: Path, prompts: pa.Table) -> str | None:
    """What is said of a table with a row of a prompt, or a concept, that its pack doesn't have."""
    names = pq.read_schema(path).names
    # Edits are measured on prompts, and lent to concepts, of other packs, too.
    if "prompt_kind" in names or not {"concept", "prompt_id"} & set(names):
        return None
    key = "concept" if "concept" in names else "prompt_id"
    keys = set(pq.read_table(path, columns=[key])[key].unique().to_pylist())
    orphans = sorted(keys - set(prompts[key].to_pylist()))
    return f"has rows of {orphans[0]!r} in {path.name}, which is not in it" if orphans else None
