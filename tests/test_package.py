"""Rules of the package as a whole: who imports whom, how long files are, and what configs say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from callbacks.commands import REPOSITORY, command

PACKAGE = REPOSITORY / "kn_lightning"
FILES = sorted(PACKAGE.rglob("*.py")) + [REPOSITORY / "analyze.py", REPOSITORY / "train.py"]
CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))


def named(path: Path) -> str:
    """A test's name for a file."""
    return str(path.relative_to(REPOSITORY))


def imported(path: Path) -> set[str]:
    """All modules that a file imports, wherever in it, relative ones resolved."""
    found: set[str] = set()
    package = path.relative_to(REPOSITORY).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def reaches(path: Path, forbidden: set[str]) -> set[str]:
    """What a file imports of some modules and what is below them."""
    return {
        name
        for name in imported(path)
        if any(name == one or name.startswith(one + ".") for one in forbidden)
    }


LAYERS = {
    "core": {
        "lightning",
        "transformers",
        "wandb",
        "pyarrow",
        *(f"kn_lightning.{part}" for part in ("encoders", "data", "callbacks", "report", "module")),
    },
    "encoders": {"lightning", *(f"kn_lightning.{part}" for part in ("callbacks", "report"))},
    "data": {f"kn_lightning.{part}" for part in ("callbacks", "report", "module")},
    "callbacks": {"transformers", "kn_lightning.report", "kn_lightning.cli"},
    "report": {
        "torch",
        "lightning",
        "transformers",
        "wandb",
        *(f"kn_lightning.{part}" for part in ("core", "encoders", "data", "callbacks", "module")),
    },
}
"""What files of each folder never import."""


@pytest.mark.parametrize("folder", LAYERS)
def test_each_layer_imports_only_what_lies_below_it(folder: str) -> None:
    files = sorted((PACKAGE / folder).rglob("*.py"))
    assert files
    found = {named(path): reaches(path, LAYERS[folder]) for path in files}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_file_imports_tests_or_scripts(path: Path) -> None:
    forbidden = {"tests", "benchmarks", "analyze", "train", "conftest"}
    assert reaches(path, forbidden) == set()


@pytest.mark.parametrize("path", FILES, ids=named)
def test_files_are_short_and_say_what_they_are_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_file_prints(path: Path) -> None:
    calls = (
        node.func
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    )
    assert "print" not in [call.id for call in calls if isinstance(call, ast.Name)]


def modules_after(code: str) -> set[str]:
    """Top-level modules in a fresh process that ran this code."""
    code += "\nimport sys\nsys.stdout.write(' '.join({n.split('.')[0] for n in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["kn_lightning", "kn_lightning.report", "kn_lightning.errors", "kn_lightning.schema"]
)
def test_importing_the_package_loads_no_heavy_library(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert "kn_lightning" in loaded
    assert not loaded & {"torch", "lightning", "transformers", "matplotlib", "wandb"}


def test_package_gives_its_two_functions_and_no_others() -> None:
    import kn_lightning

    assert kn_lightning.__all__ == ["attribute", "load_encoder"]
    for name in kn_lightning.__all__:
        assert callable(getattr(kn_lightning, name))
    with pytest.raises(AttributeError, match="attributes"):
        _ = kn_lightning.attributes


def scripts_of(path: Path) -> Iterator[str]:
    """The script that a config is for: said in its opening comment."""
    comment = "".join(
        line for line in path.read_text(encoding="utf-8").splitlines(True) if line[:1] == "#"
    )
    return iter(sorted(set(re.findall(r"\b(analyze|train)\.py\b", comment))))


@pytest.mark.parametrize("path", CONFIGS, ids=named)
def test_every_config_is_accepted_by_its_script(path: Path) -> None:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(settings, dict)
    scripts = list(scripts_of(path)) or [
        "train" if path.stem in ("train", "scratch") else "analyze"
    ]
    for script in scripts:
        done = command(f"{script}.py", "--config", path, "--print_config")
        assert done.code == 0, done.err
        resolved = yaml.safe_load(done.out)
        # What the file says is what comes out: no key was passed over.
        for section, values in settings.items():
            keys = values.items() if isinstance(values, dict) else []
            for key, value in keys:
                if not isinstance(value, dict) and key not in ("class_path",):
                    assert resolved[section][key] == value, (section, key)


def test_configs_name_their_default_of_each_script() -> None:
    assert {"analyze.yaml", "train.yaml", "scratch.yaml"} <= {path.name for path in CONFIGS}


def test_every_test_of_the_table_exists() -> None:
    table = (REPOSITORY / "tests" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", table))
    written = {
        node.name
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(named) > 30
    assert named <= written


def test_the_wheel_says_that_the_package_is_typed() -> None:
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["kn_lightning"]
    assert (PACKAGE / "py.typed").is_file()
