"""A JSONL file -> prompt groups; one group a line, errors with the line's number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kn_lightning.data.part_of_speech import given_part
from kn_lightning.errors import InputError
from kn_lightning.files import check_whole
from kn_lightning.schema import MASK, Prompt, PromptGroup


def read_jsonl(path: Path) -> Iterator[PromptGroup]:
    """Groups of a file, line by line; blank lines are passed over.

    A line is ``{"concept": "kitten", "prompts": ["[MASK] will grow up to be a cat.", ...]}`` with
    ``relation``, ``pos`` (as :func:`given_part` takes it) and ``negated`` prompts where known;
    other keys are left alone.

    Raises:
        InputError: the file can't be read, or a line is no such group.
    """
    check_whole("data.path", path)
    try:
        with path.open("rb") as lines:
            for record, place in json_objects(lines, path):
                yield _group(record, place)
    except OSError as error:
        raise InputError(
            f"data.path {path}: {error.strerror or error}; give a file of JSON lines"
        ) from error


def json_objects(lines: Iterable[bytes], source: object) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of JSON lines, each with its place ("FILE, line 7") for messages.

    Raises:
        InputError: a line is no JSON object.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = f"{source}, line {number}"
            yield _object(line, place), place


def named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys differ, for ``object_pairs_hook``.

    Raises:
        ValueError: a key is there twice; Python's own way is to lose what stands first.
    """
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in record if names.count(name) > 1)
        raise ValueError(f"{twice!r:.60} is there twice, and of two values one would be lost")
    return record


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        # utf-8-sig: a byte order mark is no part of the first key.
        record = json.loads(line.decode("utf-8-sig"), object_pairs_hook=named_once)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{place}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        what = f"{error.msg} at column {error.colno}"
        raise InputError(f"{place}: not JSON ({what}); write one whole object a line") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 1,000 brackets
        raise InputError(f"{place}: not JSON that can be read ({error})") from error
    if not isinstance(record, dict):
        raise InputError(
            f"{place}: {type(record).__name__} instead of a JSON object; write one object a line"
        )
    return record


def _group(record: dict[str, Any], place: str) -> PromptGroup:
    concept = string_value(record, "concept", place)
    relation = None if record.get("relation") is None else string_value(record, "relation", place)
    pos = None if record.get("pos") is None else string_value(record, "pos", place)
    part = None if pos is None else given_part(pos, place)
    prompts = _sentences(record.get("prompts"), place, "prompts")
    if not prompts:
        raise InputError(f"{place}: 'prompts' is []; give a list of sentences with {MASK}")
    negated = _sentences(record.get("negated") or [], place, "negated")
    return PromptGroup(
        concept,
        tuple(Prompt(text, relation) for text in prompts),
        part,
        tuple(Prompt(text, relation) for text in negated),
    )


def _sentences(value: Any, place: str, key: str) -> list[str]:
    """The masked sentences below ``key``."""
    if not isinstance(value, list):
        raise InputError(f"{place}: {key!r} is {value!r:.60}; give a list of sentences with {MASK}")
    for prompt in value:
        if not isinstance(prompt, str) or prompt.count(MASK) != 1 or not is_text(prompt):
            raise InputError(f"{place}: prompt {prompt!r:.80} needs exactly one {MASK}, in Unicode")
    return value


def string_value(record: dict[str, Any], key: str, place: str) -> str:
    """The non-empty string below ``key``, stripped; ``place`` is for the message where it isn't."""
    value = record.get(key)
    if not isinstance(value, str) or not value.strip() or not is_text(value):
        raise InputError(f"{place}: {key!r} is {value!r:.60}; give a non-empty string")
    return value.strip()


def is_text(value: str) -> bool:
    """Whether a string is more than JSON: half an emoji passes as JSON and is no text."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)
