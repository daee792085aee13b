"""ParaRel's patterns x facts -> prompt groups, one for each fact.

ParaRel (Elazar et al. 2021) words each relation in many patterns, ``[X]`` being the subject and
``[Y]`` the object; Dai et al. (2021) fill in the subjects of LAMA's T-REx facts and mask the
object.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kn_lightning.data.jsonl import json_objects, string_value
from kn_lightning.data.lama import Masked
from kn_lightning.errors import InputError
from kn_lightning.files import check_whole
from kn_lightning.schema import MASK, Prompt, PromptGroup, Skipped

_PATTERNS, _FACTS = Path("pattern_data", "graphs_json"), Path("trex_lms_vocab")


def pararel_files(path: Path) -> tuple[list[Path], list[Path]]:
    """The files of patterns and of facts, one a relation, each sorted by name.

    Args:
        path: ParaRel's repository or its ``data`` folder.

    Raises:
        InputError: one of the two folders isn't there or is empty.
    """
    found = []
    for folder in (_PATTERNS, _FACTS):
        for root in (path / "data", path):
            if files := sorted((root / folder).glob("P*.jsonl")):
                found.append(files)
                break
        else:
            raise InputError(
                f"data.path {path}: no {folder}/P*.jsonl in it; give ParaRel's repository or its "
                "data folder"
            )
    return found[0], found[1]


def read_pararel(path: Path, mask: Masked, min_patterns: int) -> Iterator[PromptGroup | Skipped]:
    """A group for each fact: all patterns of its relation with the subject or object masked.

    Args:
        path: as for :func:`pararel_files`.
        mask: what is asked for; the other is filled in.
        min_patterns: facts of a relation with fewer patterns are left out.

    Raises:
        InputError: a file can't be read, or a line isn't of ParaRel's form.
    """
    pattern_files, fact_files = pararel_files(path)
    patterns: dict[str, list[str]] = {}
    for file in pattern_files:
        patterns[file.stem] = []
        for (pattern,) in _rows(file, "pattern"):
            if pattern.count("[X]") == pattern.count("[Y]") == 1:
                patterns[file.stem].append(pattern)
            else:
                yield Skipped("", pattern, "the pattern has not exactly one [X] and one [Y]")
    asked, given = ("[Y]", "[X]") if mask == "object" else ("[X]", "[Y]")
    for file in fact_files:
        relation = file.stem
        wordings = patterns.get(relation, [])
        for subject, answer in _rows(file, "sub_label", "obj_label"):
            concept, filling = (answer, subject) if mask == "object" else (subject, answer)
            if len(wordings) < min_patterns:
                fact = f"{relation}: {subject}, {answer}"
                yield Skipped(concept, fact, f"fewer than {min_patterns} patterns of its relation")
                continue
            texts = [text.replace(asked, MASK).replace(given, filling) for text in wordings]
            yield PromptGroup(concept, tuple(Prompt(text, relation) for text in texts))


def _rows(file: Path, *keys: str) -> Iterator[list[str]]:
    """The values of some keys, line by line."""
    check_whole("data.path", file)
    try:
        with file.open("rb") as lines:
            for record, place in json_objects(lines, file):
                yield [string_value(record, key, place) for key in keys]
    except OSError as error:
        raise InputError(f"data.path {file}: {error.strerror or error}") from error
