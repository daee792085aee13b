"""Small studies of tiny encoders on disk, run once for the tests that read their tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from encoders.tiny import tiny_model

from .commands import analyze, write_jsonl

GROUPS = {
    "kitten": [
        "[MASK] will grow up to be a cat.",
        "the young of a cat is a [MASK].",
        "every cat was once a [MASK].",
        "a small cat is a [MASK] on the farm.",
        "[MASK] is the word.",
    ],
    "puppy": ["a young dog is a [MASK].", "[MASK] will become a dog.", "a [MASK] is small."],
    "paris": ["the capital of france is [MASK].", "[MASK] is the capital of france."],
    "milk": ["every cow will play in the barn and on the farm [MASK].", "[MASK]."],
    "rome": ["[MASK] is the capital of italy and a large city on the river."],
    "wool": ["[MASK] was once of a sheep.", "a sheep and [MASK].", "the fur is [MASK]."],
}
"""Concepts and prompts of words that the tiny tokenizers know; none is london."""

Study = Callable[..., Path]


@pytest.fixture(scope="session")
def prompt_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The groups as a file."""
    path = tmp_path_factory.mktemp("data") / "groups.jsonl"
    lines = ({"concept": concept, "prompts": prompts} for concept, prompts in GROUPS.items())
    return write_jsonl(path, *lines)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``tiny_folder("bert")``: a tiny encoder as transformers saves it."""
    folder = tmp_path_factory.mktemp("encoders")

    def saved(architecture: str) -> Path:
        path = folder / architecture
        if not path.exists():
            model, tokenizer = tiny_model(architecture)
            model.save_pretrained(path)
            tokenizer.save_pretrained(path)
        return path

    return saved


@pytest.fixture(scope="session")
def study(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_folder: Callable[[str], Path],
    prompt_file: Path,
) -> Study:
    """``study(flags..., architecture="bert")``: the run folder; the same flags are run once."""
    done: dict[tuple[object, ...], Path] = {}
    folder = tmp_path_factory.mktemp("studies")

    def run(*flags: object, architecture: str = "bert") -> Path:
        key = (architecture, *flags)
        if key not in done:
            source = ("--data", "JsonlPrompts", "--data.path", prompt_file)
            encoder = ("--model.encoder", tiny_folder(architecture))
            done[key] = analyze(folder / str(len(done)), *encoder, *source, *flags)
        return done[key]

    return run
