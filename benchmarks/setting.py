"""What the benchmarks share: encoders and prompts, fair rounds, results with their machine.

A result is a *cell* of ``results/NAME.json``: its ``rows`` become a table of the README
(``table.py``). A later run of the same cell replaces it alone.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizer
from transformers.utils.logging import disable_progress_bar

from kn_lightning.data.encoding import encode_group
from kn_lightning.data.facts import embedded_groups
from kn_lightning.data.jsonl import json_objects, read_jsonl
from kn_lightning.data.sources import JsonlPrompts, LamaPrompts
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.loading import load_encoder
from kn_lightning.files import write_whole
from kn_lightning.schema import MASK, EncodedGroup, EncodedPrompt, Prompt, PromptGroup

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "lightning", "knowledge-neurons", "captum")
PROMPTS_OF_A_CONCEPT = 4
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SHAPES: dict[str, dict[str, int]] = {
    "bert-large": {
        "num_hidden_layers": 24,
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
    "bert-base": {},  # BertConfig's own: 12 layers, 768 wide, 3,072 neurons, 30,522 tokens
    "minilm": {  # that of MiniLM with 6 layers
        "num_hidden_layers": 6,
        "hidden_size": 384,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "vocab_size": 30522,
    },
    "embedded": {  # of this package's encoder, with more words
        "num_hidden_layers": 4,
        "hidden_size": 128,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        "vocab_size": 8000,
    },
    "tiny": {
        "num_hidden_layers": 3,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 500,
    },
}


def arguments(documentation: str | None) -> argparse.ArgumentParser:
    """A script's parser: ``--quick`` tries it on a tiny encoder and keeps no result."""
    parser = argparse.ArgumentParser(description=(documentation or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny size; nothing is kept")
    warnings.filterwarnings("ignore")  # of the other codes' libraries
    disable_progress_bar()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return parser


def random_encoder(shape: str) -> Encoder:
    """A BERT with random weights; every word ``w<number>`` is a token of its vocabulary."""
    torch.manual_seed(0)
    config = BertConfig(**SHAPES[shape])  # type: ignore[arg-type]
    tokens = [*SPECIAL, *random_words(config.vocab_size)]
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(tokens)})
    return load_encoder(BertForMaskedLM(config), tokenizer)


def random_words(n_tokens: int) -> list[str]:
    """Words of a :func:`random_encoder` with so many tokens in its vocabulary."""
    return [f"w{number}" for number in range(len(SPECIAL), n_tokens)]


def random_groups(words: Sequence[str], n_groups: int, n_tokens: int) -> list[PromptGroup]:
    """Concepts with four prompts each, of words drawn at random.

    Args:
        words: of one token each; the first become the concepts.
        n_groups: concepts.
        n_tokens: of each prompt with the two special ones; the mask's place changes.
    """
    generator = torch.Generator().manual_seed(0)
    groups = []
    for concept in range(n_groups):
        shape = (PROMPTS_OF_A_CONCEPT, n_tokens - 2)
        drawn = torch.randint(len(words), shape, generator=generator)
        sentences = [[words[place] for place in row] for row in drawn.tolist()]
        for number, sentence in enumerate(sentences):
            sentence[(concept + number) % len(sentence)] = MASK
        prompts = tuple(Prompt(" ".join(sentence)) for sentence in sentences)
        groups.append(PromptGroup(words[concept], prompts, "noun"))
    return groups


def random_prompts(encoder: Encoder, n_prompts: int, n_tokens: int) -> list[EncodedPrompt]:
    """Prompts of :func:`random_groups`, encoded, those of a concept together."""
    n_groups = -(-n_prompts // PROMPTS_OF_A_CONCEPT)
    groups = random_groups(random_words(encoder.model.config.vocab_size), n_groups, n_tokens)
    return encoded_prompts(encoder, groups, n_prompts)


def prompt_groups(path: Path | None) -> list[PromptGroup]:
    """Of a file in LAMA's form, its subjects masked, or of groups; the testbed's without one."""
    if path is None:
        return embedded_groups()
    with path.open("rb") as lines:
        first, _ = next(json_objects(lines, path), ({}, ""))
    source = JsonlPrompts if "concept" in first else LamaPrompts
    groups, _, _ = source(path).selected()
    return groups


def trained_prompts(
    encoder: Encoder, path: Path | None, n_prompts: int | None = None
) -> list[EncodedPrompt]:
    """All or the first prompts of a JSONL file of groups; without one, of the package's testbed."""
    return encoded_prompts(
        encoder, embedded_groups() if path is None else read_jsonl(path), n_prompts
    )


def evenly(prompts: list[EncodedPrompt], n_prompts: int) -> list[EncodedPrompt]:
    """So many of them, evenly spread, for those of a concept stand together."""
    n_prompts = min(n_prompts, len(prompts))
    return [prompts[place * len(prompts) // n_prompts] for place in range(n_prompts)]


def encoded_prompts(
    encoder: Encoder, groups: Iterable[PromptGroup], n_prompts: int | None
) -> list[EncodedPrompt]:
    """The first prompts of groups that the encoder can be asked about; None: all."""
    encoded = encoded_groups(encoder, groups)
    return list(islice((prompt for group in encoded for prompt in group.prompts), n_prompts))


def encoded_groups(encoder: Encoder, groups: Iterable[PromptGroup]) -> Iterator[EncodedGroup]:
    """Groups as the encoder reads them, but for those that it can't be asked about."""
    for group in groups:
        encoded, _ = encode_group(encoder, group)
        if encoded is not None:
            yield encoded


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def paired_rounds(
    runs: Mapping[str, Callable[[int], object]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each run in each round, of whose number it is told.

    In a round all runs follow one another, so that what else the machine does meets all of them;
    ratios are taken within a round, and medians over rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run(number)
            times[name].append(time.perf_counter() - start)
    return times


def ratios(slow: Iterable[float], fast: Iterable[float]) -> tuple[float, float]:
    """Median and worst of how many times faster, round by round."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return statistics.median(each), min(each)


def machine() -> dict[str, Any]:
    """Processor, threads and versions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:  # not Linux
        names = []
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def commit() -> dict[str, str]:
    """The checkout's commit, by git; nothing where there is none."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": done.stdout.strip()}


def keep(
    name: str, cell: str, rows: list[dict[str, Any]], quick: bool, **further: Any
) -> dict[str, Any]:
    """Print a cell as JSON, and put it into ``results/NAME.json`` unless it was a quick one.

    With the cell stands the commit that wrote it.

    Args:
        name: of the script.
        cell: what was measured: an earlier result of the same cell is replaced.
        rows: of the README's table, all with the same keys.
        quick: whether this was a trial.
        further: kept beside the rows.
    """
    result = {"machine": machine(), **commit(), "rows": rows, **further}
    sys.stdout.write(json.dumps({cell: result}, indent=2) + "\n")
    if not quick:
        path = RESULTS / f"{name}.json"
        cells = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        write_whole(path, json.dumps({**cells, cell: result}, indent=2) + "\n")
    return result
