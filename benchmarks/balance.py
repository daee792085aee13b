"""How evenly ranks share packs: efficiency at 2 to 512 ranks, over the measured cost of each pack.

    python benchmarks/balance.py [--prompts LAMA.jsonl]
    python benchmarks/balance.py [--prompts LAMA.jsonl] --shape minilm --repeats 1 --no-giants
    python benchmarks/balance.py [--prompts LAMA.jsonl] --shape minilm --no-giants --by_formula

A study of the paper's 742 concepts, with 20,100 random prompts is computed by one process,
and each of its packs timed. Packs depend on the study alone, so any number of ranks would compute
the same ones: each rank takes the dearest pack that is left, by the estimate, as soon as it has
computed its last one, and the slowest rank's sum of measured times is the study's. "Dealt
beforehand" is as at addresses: by the estimate alone. "Largest" is what no way of sharing can
exceed, since a concept is never cut. "By formula" a pack costs what was fitted to all measured
ones, a sum over its start, its groups and its tokens: nothing in it is of what else the machine did
at that moment, which no rank could know. Concepts' sizes: those of a file in LAMA's form, its
subjects masked, or long-tailed ones; a cell leaves out concepts of more than a 64th of all prompts.
The process has one thread, as a rank of one core has; with more, or a smaller encoder, more of a
pack's time is its start, whatever its size.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from heapq import heapreplace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls
from setting import RESULTS, SHAPES, SPECIAL, arguments, keep, random_encoder
from study import THREADS, write_encoder

from kn_lightning.callbacks.edit import EditCallback
from kn_lightning.census import RECORD
from kn_lightning.data.dealing import PackCost, dealt_packs, dearest_first
from kn_lightning.data.jsonl import read_jsonl
from kn_lightning.data.sources import LamaPrompts
from kn_lightning.data.study import Pack, make_study
from kn_lightning.edit_plan import borrowed_tokens
from kn_lightning.schema import MASK

PACK_TOKENS = 2048
CONCEPTS, PROMPTS = 742, 20_100
RANKS = (2, 8, 64, 512)
PROMPTS_FILE = "prompts.jsonl"

Sizes = list[list[int]]
"""Of each concept, the words of its prompts."""


def lama_sizes(path: Path) -> Sizes:
    """Of the first concepts of a file in LAMA's form."""
    groups, _, _ = LamaPrompts(path, mask="subject", max_words=10, min_prompts=4).selected()
    return [[len(prompt.text.split()) for prompt in one.prompts] for one in groups[:CONCEPTS]]


def long_tailed_sizes() -> Sizes:
    """Of concepts with at least four prompts, half of them with few."""
    counts = (4 * (1 - np.random.default_rng(0).random(CONCEPTS)) ** (-1 / 1.2)).astype(int)
    return [[random.randint(4, 10) for _ in range(count)] for count in counts]


def without_giants(sizes: Sizes) -> Sizes:
    """All but the concepts that alone are more than a 64th of those that are left."""
    kept = [own for own in sizes if sum(own) <= sum(map(sum, sizes)) / 64]
    return kept if len(kept) == len(sizes) else without_giants(kept)


def scaled(sizes: Sizes, n_prompts: int) -> Sizes:
    """So many prompts in all: each concept's own again and again."""
    factor = n_prompts / sum(map(len, sizes))
    return [[own[i % len(own)] for i in range(max(1, round(len(own) * factor)))] for own in sizes]


def write_sized_prompts(path: Path, shape: str, sizes: Sizes) -> None:
    """Random prompts of these sizes."""
    n_words = SHAPES[shape]["vocab_size"]
    with path.open("w", encoding="utf-8") as lines:
        for number, own in enumerate(sizes):
            prompts = []
            for place, words in enumerate(own):
                sentence = [f"w{random.randrange(len(SPECIAL), n_words)}" for _ in range(words)]
                sentence[(number + place) % words] = MASK
                prompts.append(" ".join(sentence))
            line = {"concept": f"w{len(SPECIAL) + number}", "prompts": prompts, "pos": "noun"}
            lines.write(json.dumps(line) + "\n")


def measured_packs(
    shape: str, sizes: Sizes, pack_tokens: int, repeats: int
) -> tuple[list[Pack], list[float], PackCost]:
    """The packs of a study, what each took, and the estimate; the last one isn't run, and left out.

    A run with a pack to go is not closed, so that each pack's record stays.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoder(folder / "encoder", shape)
        packs, cost = planned(folder / PROMPTS_FILE, shape, sizes, pack_tokens)
        command = [
            sys.executable, str(Path(__file__).parent / "study.py"), "--data", "JsonlPrompts",
            "--model.encoder", str(folder / "encoder"), "--data.path", str(folder / PROMPTS_FILE),
            "--data.pack_tokens", str(pack_tokens),
            "--trainer.limit_predict_batches", str(len(packs) - 1), "--run_dir",
        ]  # fmt: skip
        runs = [folder / f"run{number}" for number in range(repeats)]
        environment = {**os.environ, THREADS: "1"}
        for run in runs:
            subprocess.run([*command, str(run)], capture_output=True, env=environment, check=False)
        # The least of all: what else the machine does is no pack's cost.
        seconds = np.min([pack_seconds(run / "parts") for run in runs], axis=0)
    return packs[:-1], seconds.tolist(), cost


def planned(path: Path, shape: str, sizes: Sizes, pack_tokens: int) -> tuple[list[Pack], PackCost]:
    """Packs of a study of prompts of these sizes, which go to a file, and their estimate."""
    write_sized_prompts(path, shape, sizes)
    study = make_study(random_encoder(shape), list(read_jsonl(path)), pack_tokens)
    return list(study.packs), PackCost(borrowed_tokens(study.groups, EditCallback().settings))


def formula_packs(
    shape: str, sizes: Sizes, pack_tokens: int, fit: Mapping[str, float]
) -> tuple[list[Pack], list[float], PackCost]:
    """As :func:`measured_packs`, where packs cost what was fitted to measured ones."""
    with tempfile.TemporaryDirectory() as name:
        packs, cost = planned(Path(name) / PROMPTS_FILE, shape, sizes, pack_tokens)
    tokens = [
        fit["pack_in_tokens"]
        + fit["group_in_tokens"] * len(pack.groups)
        + pack.tokens
        + fit["borrowed_token_in_tokens"] * cost.borrowed_tokens(pack)
        for pack in packs[:-1]
    ]
    return packs[:-1], [1e-3 * fit["milliseconds_a_token"] * own for own in tokens], cost


def pack_seconds(parts: Path) -> list[float]:
    """Attribution and edits of each pack, in order of their numbers."""
    records = [
        json.loads((part / RECORD).read_text(encoding="utf-8"))["seconds"]
        for part in sorted(parts.iterdir(), key=lambda part: int(part.name))
    ]
    return [record["attribution"] + record["edits"] for record in records]


def slowest_rank(in_order: Sequence[Pack], ranks: int, took: Callable[[Pack], float]) -> float:
    """What the last rank to end takes, where a rank that is free takes the next pack."""
    ends = [0.0] * ranks
    for pack in in_order:
        heapreplace(ends, ends[0] + took(pack))
    return max(ends)


def rows(packs: list[Pack], seconds: list[float], cost: PackCost) -> list[dict[str, Any]]:
    """Efficiency by number of ranks."""
    total = sum(seconds)
    taken = {pack.number: own for pack, own in zip(packs, seconds, strict=True)}
    # A concept's share of its pack's time goes by the estimate.
    largest = max(
        own * cost(Pack(0, (one,))) / cost(pack)
        for pack, own in zip(packs, seconds, strict=True)
        for one in pack.groups
    )

    def slowest_dealt(ranks: int) -> float:
        dealt = dealt_packs(packs, ranks, cost)
        return max(sum(taken[pack.number] for pack in own) for own in dealt)

    order = dearest_first(packs, cost)

    return [
        {
            "ranks": ranks,
            "prompts": sum(len(one.prompts) for pack in packs for one in pack.groups),
            "packs": len(packs),
            "seconds": total,
            "efficiency": total / ranks / slowest_rank(order, ranks, lambda p: taken[p.number]),
            "dealt beforehand": total / ranks / slowest_dealt(ranks),
            "largest": min(1.0, total / ranks / largest),
        }
        for ranks in RANKS
    ]


def cost_fit(packs: list[Pack], seconds: list[float], cost: PackCost) -> dict[str, float]:
    """Seconds as a sum over the pack, its groups, its tokens and those of its foreign edits."""
    parts = np.array(
        [[1.0, len(pack.groups), pack.tokens, cost.borrowed_tokens(pack)] for pack in packs]
    )
    found, _ = nnls(parts, np.array(seconds))
    start, group, token, borrowed = found
    return {
        "milliseconds_a_token": 1e3 * token,
        "pack_in_tokens": start / token,
        "group_in_tokens": group / token,
        "borrowed_token_in_tokens": borrowed / token,
        "missed": float(np.std(np.array(seconds) / (parts @ found))),
    }


def main() -> None:
    """Measure, deal, keep."""
    parser = arguments(__doc__)
    parser.add_argument("--prompts", type=Path, help="in LAMA's form; else long-tailed sizes")
    parser.add_argument("--shape", choices=["minilm", "embedded", "tiny"], default="embedded")
    parser.add_argument("--giants", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--repeats", type=int, default=2, help="of the study that is measured")
    parser.add_argument("--by_formula", action="store_true", help="of measured cells; runs nothing")
    options = parser.parse_args()
    n_prompts, pack_tokens = PROMPTS, PACK_TOKENS
    if options.quick:
        options.shape, options.repeats, n_prompts, pack_tokens = "tiny", 1, 1000, 512
    random.seed(0)
    sizes = lama_sizes(options.prompts) if options.prompts else long_tailed_sizes()
    if options.quick:
        sizes = sizes[:200]
    name = "ConceptNet's sizes" if options.prompts else "long-tailed sizes"
    kinds = {f"{name}, {options.shape}, without giants": without_giants(sizes)}
    if options.giants:
        kinds[f"{name}, {options.shape}"] = sizes
    for cell, some in kinds.items():
        study = (options.shape, scaled(some, n_prompts), pack_tokens)
        if options.by_formula:
            fit = json.loads((RESULTS / "balance.json").read_text(encoding="utf-8"))[cell]
            keep("balance", f"{cell}, by formula", rows(*formula_packs(*study, fit)), options.quick)
        else:
            found = measured_packs(*study, options.repeats)
            keep("balance", cell, rows(*found), options.quick, **cost_fit(*found))


if __name__ == "__main__":
    main()
