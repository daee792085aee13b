"""``constraints.txt`` pins all that the project brings, to what is installed where it is tested."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata, requires

from callbacks.commands import REPOSITORY
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

BY_TORCH = re.compile(r"nvidia-|triton|cuda-")
"""Of its builds for GPUs: torch pins them itself, to one version each."""


def pins() -> dict[str, Requirement]:
    """Each line of the file by its package."""
    text = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = {canonicalize_name(one.name): one for one in map(Requirement, lines)}
    assert len(found) == len(lines), "a package twice"
    return found


def brought() -> set[str]:
    """Packages that ``pip install -e ".[dev]"`` installs here."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    todo = [Requirement(line) for line in lines]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        one = todo.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in seen or BY_TORCH.match(key[0]):
            continue
        try:
            further = [Requirement(line) for line in requires(key[0]) or []]
        except PackageNotFoundError:  # of the dev extra, where that isn't installed whole
            continue
        seen.add(key)
        todo += [
            other
            for other in further
            if other.marker is None
            or any(
                other.marker.evaluate({**default_environment(), "extra": extra})
                for extra in (*one.extras, "")
            )
        ]
    return {name for name, _ in seen}


def test_every_package_that_comes_is_pinned_to_one_version() -> None:
    pinned = pins()
    assert all(re.fullmatch("==[^*+,]+", str(one.specifier)) for one in pinned.values())
    assert str(pinned["torch"].specifier) == "==2.13.0"
    found = brought()
    assert len(found) > 100
    assert found - pinned.keys() == set()


def test_every_pin_is_of_a_package_that_comes() -> None:
    here = {name for name, one in pins().items() if one.marker is None or one.marker.evaluate()}
    assert here - brought() == set()


def test_every_pin_allows_the_lowest_python_of_the_project() -> None:
    """A later patch release here would hide one that pip refuses: soupsieve asked for 3.11.5."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest = project["requires-python"].removeprefix(">=") + ".0"
    asked = {name: metadata(name).get("Requires-Python") or "" for name in brought()}
    assert {name: one for name, one in asked.items() if lowest not in SpecifierSet(one)} == {}
