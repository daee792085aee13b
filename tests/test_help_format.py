"""The help of every command is in a user's words, without Python's names for things."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from callbacks.commands import command, real_command

from analyze import COMMANDS
from kn_lightning.help_format import plain_text, value_text

HELPS = [["analyze.py"], *(["analyze.py", name] for name in COMMANDS), ["train.py"]]
SOURCES = [["analyze.py", "--data.help", name] for name in ("EmbeddedPrompts", "LamaPrompts")]
INTERNAL = {
    "a value's repr": r"<\w+ |\bobject at 0x|==SUPPRESS==",
    "a default as Python writes it": r"default: (None|True|False|\(|'|\['|\{'|[\w.]+\()",
    "a module": r"\bkn_lightning\.\w|\bjsonargparse\b|\btyping\.",
    "a record": r"\b\w+Settings\b",
    "a base class among those to choose from": r"subclasses: (\S+Groups|\S+Sentences)\b",
    "a role of reStructuredText": r":\w+:`",
    "a link between flags": r" --> |derived from links",
}
"""What is no user's business, and how it looks."""


@pytest.mark.parametrize("words", [*HELPS, *SOURCES], ids=" ".join)
def test_help_shows_no_internal_name(words: list[str]) -> None:
    asked = words if "--data.help" in words else [*words, "--help"]
    done = command(*asked)
    assert (done.code, done.err) == (0, "")
    text = re.sub(r"\s+", "", done.out), re.sub(r"\s+", " ", done.out)
    for what, pattern in INTERNAL.items():
        for shown in text:  # names may be broken over lines
            assert re.search(pattern, shown) is None, (what, re.search(pattern, shown))


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_each_section_that_takes_a_config_has_flags(words: list[str]) -> None:
    out = command(*words, "--help").out
    sections = re.findall(r"^  --(?!config )(\w+) CONFIG  ", out, re.MULTILINE)
    assert all(re.search(rf"^  --{name}\.\w+ ", out, re.MULTILINE) for name in sections)
    assert ("edit" in sections) == (words == ["analyze.py"])


def test_help_names_the_classes_and_the_default_of_data() -> None:
    # In a process of its own: other tests define classes that are known then, too.
    said = " ".join(real_command("analyze.py", "--help").out.split())
    assert (
        "default: EmbeddedPrompts, known subclasses: EmbeddedPrompts, JsonlPrompts, CsvPrompts,"
        " LamaPrompts, PararelPrompts)" in said
    )
    # Not the packages' own, such as EditCallback: each has a section.
    assert re.search(r"known subclasses: lightning\.Callback, [^)]*SaveConfigCallback\)", said)
    assert "configs/analyze.yaml, whose values are the defaults below" in said


def test_values_are_written_as_on_a_command_line() -> None:
    values = [None, True, 0.5, "a", Path("a/b"), (), ["a"], {"class_path": "kn_lightning.data.A"}]
    written = ["null", "true", "0.5", "a", "a/b", "[]", '["a"]', "A"]
    assert list(map(value_text, values)) == written
    assert value_text({"class_path": "my_prompts.Young"}) == "my_prompts.Young"


def test_roles_become_the_last_of_their_names() -> None:
    text = "see :meth:`~lightning.pytorch.Trainer.fit` and :class:`dict`, as ``fit``"
    assert plain_text(text) == "see fit and dict, as ``fit``"
