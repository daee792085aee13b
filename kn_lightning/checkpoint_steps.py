"""Names of checkpoints -> the steps of the training at which they were written."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kn_lightning.errors import InputError
from kn_lightning.formation import Step

FLAG = "--encoders"
"""Where the names are given."""

_WORD = re.compile(r"[A-Za-z0-9.]+")
_NUMBER = re.compile(r"(\d+\.\d+(?=[kKmM]$)|\d+)([kKmM]?)$")
_TIMES = {"": 1, "k": 1000, "m": 1_000_000}
_HASH = re.compile(r"(?=.*\d)(?=.*[a-f])[0-9a-f]{7,}")


def steps_of(names: Sequence[str], given: Sequence[int] | None = None) -> list[Step]:
    """The checkpoints with their training steps.

    Raises:
        InputError: fewer than two, one twice, or steps that don't ascend.
    """
    if len(names) < 2:
        raise InputError(
            f"{FLAG} {' '.join(names)}: give two checkpoints or more, with a space between"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{FLAG} {twice[0]}: it is there twice; give it once")
    if given is None:
        numbers = [number for name in names if (number := _step(name)) is not None]
        ascend = len(numbers) == len(names) and sorted(set(numbers)) == numbers
        given = numbers if ascend else range(len(names))
    if len(given) != len(names):
        raise InputError(f"--steps: {len(given)} for {len(names)} checkpoints; give one for each")
    if sorted(set(given)) != list(given) or given[0] < 0:
        raise InputError(
            f"--steps {' '.join(map(str, given))}: they don't ascend from 0 or more; give"
            f" {FLAG} and steps in the order of the training"
        )
    return [Step(number, name) for number, name in zip(given, names, strict=True)]


def _step(name: str) -> int | None:
    """The last number of a checkpoint's name; the digits of a commit's hash are none."""
    for word in reversed(_WORD.findall(name)):
        found = None if _HASH.fullmatch(word) else _NUMBER.search(word)
        if found is not None:
            return round(float(found[1]) * _TIMES[found[2].lower()])
    return None
