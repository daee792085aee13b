"""Bad input: the command, and what its one line has to name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest import mock

from callbacks.commands import Finished, command

from kn_lightning import load_encoder

GOOD = '{"concept": "kitten", "prompts": ["[MASK] is a young cat."]}'


# To check the embedded encoder anew for each case would take most of the time.
_loaded = cache(load_encoder)


@dataclass(frozen=True)
class Case:
    """A command that is refused.

    Attributes:
        section: of the page.
        what: is wrong.
        arguments: of ``analyze.py``, or of another script that they begin with.
        words: that the message has: the value, the place, and the remedy.
    """

    section: str
    what: str
    arguments: str
    words: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        """The script and its arguments."""
        given = self.arguments.split(" ")
        return given if given[0] == "train.py" else ["analyze.py", *given]


def run(case: Case, folder: Path) -> Finished:
    """The case's command, in the folder of the material, as on a machine without a network."""
    script, *arguments = case.command
    flags = "--run_dir" not in arguments and arguments[0].startswith("--")
    if script == "analyze.py" and (flags or case.section == "Flags"):
        arguments += ["--run_dir", "run"]
    with (
        mock.patch("huggingface_hub.constants.HF_HUB_OFFLINE", True),
        # What is refused too late must not take a study's time.
        mock.patch("kn_lightning.module.load_encoder", _loaded),
        mock.patch("kn_lightning.module.attribute_encoded", side_effect=AssertionError),
    ):
        return command(script, *arguments, cwd=folder)
