"""Prompts -> the same with a negation of each, made by a rule, as ``JsonlPrompts`` reads them.

    python benchmarks/negations.py FILE OUTPUT.jsonl [--max_groups N]

FILE is in LAMA's form (subjects masked, as ``LamaPrompts`` does unless told) or of prompt groups,
a concept a line. The first expression of ``RULE`` that a prompt has is denied, at its first place.
A prompt with none of them, or that denies something already, is left out, and then a concept with
fewer than four prompts: each prompt that stays has its negation. Nobody wrote these sentences;
that they are false, or good English, is not checked.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from setting import prompt_groups

from kn_lightning.command import run_command
from kn_lightning.files import write_whole
from kn_lightning.schema import Prompt, PromptGroup

RULE = {
    "likely to find": "not likely to find",
    # Before "can": "An activity a cat can do is not sleep".
    "is": "is not",
    "can": "can not",
    "has": "does not have",
}
"""What is denied and how, in the order in which it is looked for."""
N_PROMPTS = 4
"""Of a concept, as few as the paper asks for."""
_DENIAL = re.compile(r"\b(?:not|no|never|nobody|nothing)\b|n't\b", re.IGNORECASE)


def negation(text: str) -> str | None:
    """The sentence denied; None where the rule has nothing to say of it."""
    if _DENIAL.search(text):
        return None
    for said, denied in RULE.items():
        changed, found = re.subn(rf"\b{said}\b", denied, text, count=1)
        if found:
            return changed
    return None


def negated_groups(groups: Iterable[PromptGroup], n_prompts: int = N_PROMPTS) -> list[PromptGroup]:
    """Groups of prompts that have a negation, with it; those of fewer prompts are left out."""
    found = []
    for group in groups:
        pairs = [(prompt, negation(prompt.text)) for prompt in group.prompts]
        denied = [(prompt, Prompt(text, prompt.relation)) for prompt, text in pairs if text]
        if len(denied) >= n_prompts:
            prompts, negated = zip(*denied, strict=True)
            found.append(PromptGroup(group.concept, prompts, group.pos, negated))
    return found


def write_groups(path: Path, groups: Sequence[PromptGroup]) -> None:
    """A line for each relation of a concept, as a line of ``JsonlPrompts`` has one."""
    lines = []
    for group in groups:
        for relation in dict.fromkeys(prompt.relation for prompt in group.prompts):
            line = {"concept": group.concept, "pos": group.pos, "relation": relation}
            for key in ("prompts", "negated"):
                own: tuple[Prompt, ...] = getattr(group, key)
                line[key] = [prompt.text for prompt in own if prompt.relation == relation]
            lines.append(json.dumps({key: value for key, value in line.items() if value}) + "\n")
    write_whole(path, "".join(lines))


def main() -> None:
    """Read, deny, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--max_groups", type=int, help="the first so many concepts of FILE alone")
    options = parser.parse_args()
    groups = prompt_groups(options.file)[: options.max_groups]
    write_groups(options.output, negated_groups(groups))


if __name__ == "__main__":
    run_command(main)
