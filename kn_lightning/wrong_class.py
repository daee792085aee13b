"""What is said of a flag that takes a class, such as ``--data``, and of its classes' flags."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from kn_lightning.errors import nearest
from kn_lightning.flags import Flags
from kn_lightning.given import Given, is_path, quoted

_READERS = {  # which class reads a file of this kind
    ".jsonl": "JsonlPrompts",
    ".json": "JsonlPrompts",
    ".csv": "CsvPrompts",
    ".tsv": "CsvPrompts",
    ".txt": "TextLines",
    ".zip": "LamaPrompts",
}
_CONFIGS = (".yaml", ".yml")  # --data takes these, too


def file_for_class(key: str, given: Given, flags: Flags) -> str | None:
    """``--data FILE``; jsonargparse may have looked into the file, and complain of that."""
    value = given.value(key)
    if key not in flags.classes or value is None or value in flags.classes[key]:
        return None
    kind = Path(value).suffix.lower()
    if kind in _CONFIGS or not ("/" in value or kind in _READERS or is_path(value)):
        return None
    classes = flags.classes[key]
    return (
        f"{given.place(key)} {value}: give the class that reads it, and it as the path; write"
        f" {reading(key, value, classes)} (classes: {', '.join(sorted(classes))})"
    )


def flag_of_another(name: str, made: str, given: Given, flags: Flags) -> str | None:
    """A flag that only other classes have than the one that was named, or is the default.

    Args:
        name: of the flag.
        made: the class.
        given: by the user.
        flags: of the command.
    """
    key = name.partition(".")[0]
    having = sorted(kind for kind, keys in flags.classes.get(key, {}).items() if name in keys)
    if not having:
        return None
    value = given.value(name) or "VALUE"
    later = [kind for kind in given.values(key) if kind.rpartition(".")[2] in having]
    if later:
        remedy = f"--{key} {later[-1]} before it"
    elif name == f"{key}.path":
        remedy = reading(key, value, flags.classes[key])
    else:
        remedy = f"--{key} CLASS --{name} {quoted(value)}"
    return (
        f"{given.place(name)} {value}: {made} has no such flag, but {', '.join(having)}; write"
        f" {remedy}"
    )


def no_class(key: str, name: str, given: Given, flags: Flags) -> str:
    """There is none of that name."""
    names = sorted(flags.classes[key])
    return (
        f"{given.place(key)} {name}: no such class{nearest(name, names)}; choose from"
        f" {', '.join(names)}"
    )


def reading(key: str, path: str, classes: Container[str] | None = None) -> str:
    """The flags that read a file or folder, with the class that takes its kind.

    Args:
        key: that takes a class.
        path: of the file or folder.
        classes: that the key takes; None where that isn't known.
    """
    name = _READERS.get(Path(path).suffix.lower(), "CLASS")
    if is_path(path) and Path(path).is_dir():
        patterns = any((Path(path) / inner).is_dir() for inner in ("pattern_data", "data"))
        name = "PararelPrompts" if patterns else "LamaPrompts"
    name = name if classes is None or name in classes else "CLASS"
    return f"--{key} {name} --{key}.path {quoted(path)}"
