"""The testbed's world: facts and templates of this package -> prompt groups.

A fact is (concept, relation, cue); each relation has several templates, so each fact is said in
several wordings. One wording of each fact is never trained on: it shows whether the encoder
learned the fact or the sentence.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from kn_lightning.schema import MASK, Prompt, PromptGroup

FACTS = Path(__file__).parent.parent / "assets" / "facts.jsonl"
TEMPLATES = Path(__file__).parent.parent / "assets" / "templates.json"


def embedded_groups() -> list[PromptGroup]:
    """All concepts of the testbed with all their prompts, those never trained on included."""
    return [
        PromptGroup(concept["concept"], tuple(p for _, p in _prompts(concept)), concept["pos"])
        for concept in _concepts()
    ]


@cache
def held_out_prompts() -> frozenset[str]:
    """The prompts that ``train.py`` never trains on: one wording of each fact."""
    return frozenset(
        prompt.text for concept in _concepts() for held_out, prompt in _prompts(concept) if held_out
    )


@cache
def _templates() -> dict[str, dict[str, list[str]]]:
    templates: dict[str, dict[str, list[str]]] = json.loads(TEMPLATES.read_text(encoding="utf-8"))
    return templates


def _concepts() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FACTS.read_text(encoding="utf-8").splitlines()]


def _prompts(concept: dict[str, Any]) -> list[tuple[bool, Prompt]]:
    """All wordings of a concept's facts, and whether each is held out."""
    prompts = []
    for number, (relation, cue) in enumerate(sorted(concept["facts"].items())):
        wordings = _templates()[concept["pos"]][relation]
        # Held-out wordings go round with the concept, so that each template is trained on most
        # concepts.
        held_out = (sum(map(ord, concept["concept"])) + number) % len(wordings)
        for index, template in enumerate(wordings):
            prompts.append((index == held_out, Prompt(_sentence(template, concept, cue), relation)))
    return prompts


def _sentence(template: str, concept: dict[str, Any], cue: str) -> str:
    article = concept["article"]
    text = template.replace("[A] ", f"{article} " if article else "")
    text = text.replace("[Y]", cue).replace("[X]", MASK)
    return text[0].upper() + text[1:]
