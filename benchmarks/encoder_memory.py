"""Peak memory and time of a whole study by the size of its encoder.

    python benchmarks/encoder_memory.py [--encoder DIR ...] [--shapes embedded bert-base bert-large]

Each study runs in a fresh process, as in ``scaling.py``, with prompts of 12 tokens: on the shapes
with random weights, and on encoders in folders, which are asked about random words of their
vocabulary. Memory grows with the groups until they fill what is computed together, and hardly from
16 groups on (``scaling.py`` has larger studies). Beside it stands what the parameters take, as
float32. Encoders with more than a GiB of them run once, the others ``--repeats`` times; medians
are given.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaling import FEW_TOKENS, MIB, repeated
from setting import SHAPES, arguments, keep
from study import write_encoder, write_prompts, write_prompts_of

from kn_lightning.command import run_command
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.loading import load_encoder
from kn_lightning.errors import InputError

LARGE_MIB = 1024
PROMPTS_NAME = "prompts.jsonl"


def size(folder: Path) -> dict[str, Any]:
    """Layers, width and parameters as they lie in memory; one that is used twice counts once."""
    encoder = load_encoder(folder)
    parameters = encoder.model.parameters()
    return {
        "layers": encoder.structure.n_layers,
        "hidden_size": encoder.structure.hidden_size,
        "parameters_mib": sum(one.numel() * one.element_size() for one in parameters) / MIB,
    }


def own_words(encoder: Encoder, n_groups: int) -> list[str]:
    """Words of letters and digits that are one token of an encoder's vocabulary, in its order.

    Raises:
        InputError: there are too few for so many groups.
    """
    tokenizer = encoder.tokenizer
    numbers = tokenizer.get_vocab()
    names = sorted(numbers, key=numbers.__getitem__)
    words = [word for word in names if word.isalnum() and tokenizer.tokenize(word) == [word]]
    if len(words) < n_groups:
        raise InputError(
            f"--groups {n_groups}: {encoder.name} has {len(words)} words of one token; give fewer"
        )
    return words


def subjects(
    shapes: list[str], encoders: list[Path], n_groups: int, place: Path
) -> Iterator[tuple[str, Path, Path]]:
    """Name, folder of the encoder and file of prompts of each study."""
    for shape in shapes:
        folder = place / shape
        write_encoder(folder, shape)
        write_prompts(folder / PROMPTS_NAME, shape, n_groups, FEW_TOKENS)
        yield f"{shape}, random weights", folder, folder / PROMPTS_NAME
    for folder in encoders:
        prompts = place / PROMPTS_NAME
        words = own_words(load_encoder(folder), n_groups)
        write_prompts_of(prompts, words, n_groups, FEW_TOKENS)
        yield folder.resolve().name, folder, prompts


def measured(name: str, folder: Path, prompts: Path, n_groups: int, repeats: int) -> dict[str, Any]:
    """One row."""
    own = size(folder)
    runs = 1 if own["parameters_mib"] > LARGE_MIB else repeats
    fixed = {"groups": n_groups, "tokens": FEW_TOKENS, "runs": runs}
    return {"encoder": name, **own, **fixed, **repeated(folder, prompts, runs)}


def main() -> None:
    """Measure and keep one cell with a row for each encoder."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--shapes", choices=SHAPES, nargs="*", default=["embedded", "bert-base", "bert-large"]
    )
    parser.add_argument("--encoder", type=Path, nargs="*", default=[], help="folders of encoders")
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.quick:
        options.shapes, options.groups, options.repeats = ["tiny"], 2, 1
    with tempfile.TemporaryDirectory() as name:
        rows = [
            measured(*subject, options.groups, options.repeats)
            for subject in subjects(options.shapes, options.encoder, options.groups, Path(name))
        ]
    keep("encoder_memory", f"{FEW_TOKENS} tokens", rows, options.quick)


if __name__ == "__main__":
    run_command(main)
