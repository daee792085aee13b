"""A CSV or TSV file -> prompt groups; one prompt a row, errors with the line's number."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from kn_lightning.data.part_of_speech import given_part
from kn_lightning.errors import InputError
from kn_lightning.files import check_whole
from kn_lightning.schema import MASK, Prompt, PromptGroup


def read_csv(path: Path) -> Iterator[PromptGroup]:
    """A group of one prompt for each row; blank rows are passed over.

    The first row names the columns: ``concept`` and ``prompt``, and ``relation``, ``pos`` (as
    :func:`given_part` takes it) and ``negated`` (the same prompt saying the opposite) where known;
    other columns are left alone. Fields are separated by tabs in a ``.tsv``, else by commas, and
    quoted as spreadsheets do.

    Raises:
        InputError: the file can't be read, or a row is no such prompt.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    check_whole("data.path", path)
    try:
        # newline="": a quoted field may have line breaks of its own.
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines, delimiter=delimiter, strict=True)
            columns = [name.strip().lower() for name in next(rows, [])]
            _check_columns(columns, path)
            for row in rows:
                if any(field.strip() for field in row):
                    yield _group(row, columns, f"{path}, line {rows.line_num}")
    except csv.Error as error:
        raise InputError(
            f"{path}, line {rows.line_num}: {error}; quote fields as spreadsheets do"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except OSError as error:
        raise InputError(
            f"data.path {path}: {error.strerror or error}; give a CSV or TSV file"
        ) from error


def _check_columns(columns: list[str], path: Path) -> None:
    twice = [name for name in ("relation", "pos", "negated") if columns.count(name) > 1]
    if twice:
        raise InputError(
            f"{path}, line 1: {', '.join(twice)} is there twice, and of two values one would be"
            " lost; name another column otherwise"
        )
    missing = [name for name in ("concept", "prompt") if columns.count(name) != 1]
    if missing:
        raise InputError(
            f"{path}, line 1: the columns are {', '.join(columns)!r:.80}; name one of them "
            f"{' and one '.join(missing)}"
        )


def _group(row: list[str], columns: list[str], place: str) -> PromptGroup:
    if len(row) > len(columns):
        raise InputError(
            f"{place}: {len(row)} fields for {len(columns)} columns; quote a field that holds the "
            "separator"
        )
    fields = dict(zip(columns, map(str.strip, row), strict=False))
    relation = fields.get("relation") or None
    if not fields.get("concept"):
        raise InputError(f"{place}: the concept is missing; fill its column in")
    prompts = [fields.get("prompt", "")]
    negated = [fields["negated"]] if fields.get("negated") else []
    for text in prompts + negated:
        if text.count(MASK) != 1:
            raise InputError(f"{place}: prompt {text!r:.80} needs exactly one {MASK}")
    return PromptGroup(
        fields["concept"],
        tuple(Prompt(text, relation) for text in prompts),
        given_part(fields["pos"], place) if fields.get("pos") else None,
        tuple(Prompt(text, relation) for text in negated),
    )
