"""``environment.json`` of a run folder → checked settings, versions and sizes."""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType
from typing import Any

from kn_lightning.errors import InputError
from kn_lightning.schema import SCHEMA_VERSION

_KINDS: dict[str, tuple[type, ...]] = {
    "versions": (dict,),
    "versions.kn_lightning": (str,),
    "platform": (str,),
    "device": (str,),
    "devices": (int,),
    "precision": (str,),
    "encoder": (dict,),
    "encoder.id": (str,),
    "encoder.revision": (str, NoneType),
    "encoder.model_type": (str,),
    "encoder.n_layers": (int,),
    "encoder.n_neurons": (int,),
    "encoder.hidden_size": (int,),
    "encoder.vocabulary": (int,),
    "data": (dict,),
    "data.class": (str,),
    "data.sha256": (str,),
    "data.groups": (int,),
    "data.prompts": (int,),
    "study": (dict,),
    "study.rule": (str,),
    "study.nodes": (int, NoneType),
    "study.tolerance": (float, int, NoneType),
    "study.path": (str,),
    "study.threshold": (float, int),
    "study.share": (float, int),
    "study.inclusive": (bool,),
    "study.factors": (list,),
    "study.unrelated": (str,),
}
"""Keys that the report prints or counts with, sections before their parts; ``seconds`` may be
missing."""
_NAMES = {
    dict: "keys with values",
    list: "a list",
    str: "a text",
    int: "a whole number from 1",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
}


def run_environment(path: Path) -> dict[str, Any]:
    """What a run folder's ``environment.json`` says.

    Raises:
        InputError: it can't be read, is of another schema version, or a key is missing or has a
            value of another kind.
    """
    try:
        environment = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; see that it can be read") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); run the study again") from error
    if not isinstance(environment, dict):
        raise InputError(f"{path}: an object is needed, found {type(environment).__name__}")
    version = environment.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema_version is {version!r:.60}, this kn_lightning reads {SCHEMA_VERSION}; "
            "report the run with the version that wrote it, or run the study again"
        )
    missing = []
    for key, kinds in _KINDS.items():
        section, _, part = key.rpartition(".")
        above = environment.get(section, {}) if section else environment
        if part in above:
            _check_kind(path, key, above[part], kinds)
        elif section not in missing:
            missing.append(key)
    if missing:
        raise InputError(f"{path}: no {', '.join(missing)}; run the study again")
    seconds = environment.get("seconds") or {}
    _check_kind(path, "seconds", seconds, (dict,))
    for stage, value in seconds.items():
        _check_kind(path, f"seconds.{stage}", value, (float, int))
    return environment


def _check_kind(path: Path, key: str, value: object, kinds: tuple[type, ...]) -> None:
    # type(), not isinstance(): true and false are int.
    if type(value) not in kinds or (float not in kinds and type(value) is int and value < 1):
        kinds = kinds[:1] if float in kinds else kinds
        names = " or ".join(_NAMES[kind] for kind in kinds)
        raise InputError(f"{path}: {key} is {value!r:.60}, not {names}; run the study again")
