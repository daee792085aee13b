"""Names that a pack has in a run folder: of its part, and of its kept scores."""

from __future__ import annotations

SCORES = "scores/"
"""Folder of a run with the scores that are kept."""


def scores_file(number: int) -> str:
    """Of a pack, in the run folder."""
    return f"{SCORES}{number:06d}.safetensors"


def part_number(name: str) -> int | None:
    """Of the pack whose part has that very name."""
    number = int(name) if name.isascii() and name.isdigit() else -1
    return number if part_name(number) == name else None


def part_name(number: int) -> str:
    """Of a pack's folder, below that of all parts."""
    return f"{number:06d}"
