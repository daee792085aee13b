"""Strong and weak scaling over ranks: measured where devices are, by a cost model elsewhere.

    python benchmarks/rank_scaling.py [--devices 2 --accelerator cpu | gpu]

With ``--devices`` whole studies run on 1, 2, 4, ... ranks, on the CPU with as many threads a rank
as the most ranks leave. Without, one small study on one rank says what a start and a token cost; a
study's packs, planned as always, are then taken by ranks as always, and the slowest rank's tokens
count. Ranks exchange nothing, so nothing else does. Strong: the same study on more ranks; weak: a
study that grows with them; "threads instead of ranks": on the same cores one rank, with all of
their threads. Default: as many prompts as the paper's study, of 6 to 12 tokens.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from balance import slowest_rank
from setting import (
    PROMPTS_OF_A_CONCEPT,
    SHAPES,
    arguments,
    encoded_groups,
    keep,
    random_encoder,
    random_groups,
    random_words,
)
from study import run_study, write_encoder, write_prompts

from kn_lightning.data.dealing import PackCost, dearest_first
from kn_lightning.data.study import planned_packs
from kn_lightning.schema import EncodedGroup

TOKENS = 12
CALIBRATION_GROUPS = 20
"""Of the one study that is run for the cost model."""
INSTEAD = "threads instead of ranks"
MODELLED_RANKS = (1, 2, 4, 8, 16, 32)


def varied_groups(n_groups: int) -> list[EncodedGroup]:
    """Groups of 6 to 12 tokens a prompt, in turn; what they say doesn't matter here."""
    encoder = random_encoder("tiny")
    words = random_words(encoder.model.config.vocab_size)
    by_tokens = [
        next(encoded_groups(encoder, random_groups(words, 1, tokens)))
        for tokens in range(TOKENS // 2, TOKENS + 1)
    ]
    return [by_tokens[number % len(by_tokens)] for number in range(n_groups)]


def slowest_tokens(n_groups: int, pack_tokens: int, ranks: int) -> int:
    """Of the rank with the most, where ranks take packs as those of a study do."""
    packs = dearest_first(planned_packs(varied_groups(n_groups), pack_tokens), PackCost())
    return int(slowest_rank(packs, ranks, lambda pack: pack.tokens))


def studied(shape: str, n_groups: int, *flags: str, threads: int | None = None) -> dict[str, Any]:
    """One real study."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoder(folder / "encoder", shape)
        write_prompts(folder / "prompts.jsonl", shape, n_groups, TOKENS)
        prompts = folder / "prompts.jsonl"
        return run_study(folder / "encoder", prompts, folder / "run", flags, threads)


def modelled(options: Any) -> dict[str, dict[int, float]]:
    """Seconds by kind and ranks."""
    few = studied(options.shape, CALIBRATION_GROUPS)
    a_token = few["seconds"] / (CALIBRATION_GROUPS * PROMPTS_OF_A_CONCEPT * TOKENS)

    def whole(n_groups: int, ranks: int) -> float:
        slowest = slowest_tokens(n_groups, options.pack_tokens, ranks)
        return float(few["start_seconds"] + a_token * slowest)

    return {
        "strong": {ranks: whole(options.groups, ranks) for ranks in MODELLED_RANKS},
        "weak": {ranks: whole(options.groups * ranks, ranks) for ranks in MODELLED_RANKS},
    }


def measured(options: Any) -> dict[str, dict[int, float]]:
    """Median seconds by kind and ranks; in each round all studies run one after another."""
    rounds = [measured_once(options) for _ in range(options.rounds)]
    return {
        kind: {n: statistics.median(one[kind][n] for one in rounds) for n in ranks}
        for kind, ranks in rounds[0].items()
    }


def measured_once(options: Any) -> dict[str, dict[int, float]]:
    """Seconds by kind and ranks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = max(1, (cores or 1) // options.devices)
    ranks = [n for n in (1, 2, 4, 8, 16) if n < options.devices] + [options.devices]

    def whole(n_groups: int, n: int, threads: int = threads) -> float:
        flags = ["--trainer.accelerator", options.accelerator, "--trainer.devices", str(n)]
        flags += ["--trainer.strategy", "ddp"] if n > 1 else []
        flags += ["--data.pack_tokens", str(options.pack_tokens)]
        found = studied(options.shape, n_groups, *flags, threads=threads)
        return float(found["start_seconds"] + found["seconds"])

    strong = {n: whole(options.groups, n) for n in ranks}
    weak = {n: whole(options.groups * n, n) for n in ranks[1:]}
    found = {"strong": strong, "weak": {1: strong[1], **weak}}
    if options.accelerator == "cpu":
        together = {n: whole(options.groups, 1, threads * n) for n in ranks[1:]}
        found[INSTEAD] = {1: strong[1], **together}
    return found


def main() -> None:
    """Measure or model one cell."""
    parser = arguments(__doc__)
    parser.add_argument("--devices", type=int, default=1, help="ranks at the most; 1: the model")
    parser.add_argument("--rounds", type=int, default=3, help="of which medians are taken")
    parser.add_argument("--accelerator", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--shape", choices=SHAPES, default="bert-base")
    parser.add_argument("--groups", type=int, default=909, help="of four prompts")
    parser.add_argument("--pack_tokens", type=int, default=2048, help="as --data.pack_tokens")
    options = parser.parse_args()
    if options.quick:
        options.shape, options.groups, options.pack_tokens = "tiny", 16, 200
        options.rounds = 1
    is_model = options.devices == 1
    packs = len(planned_packs(varied_groups(options.groups), options.pack_tokens))
    rows = []
    for kind, found in (modelled if is_model else measured)(options).items():
        for ranks, taken in found.items():
            ratio = found[1] / taken
            rows.append(
                {
                    "scaling": kind,
                    "ranks": ranks,
                    "groups": options.groups * (ranks if kind == "weak" else 1),
                    "seconds": taken,
                    "efficiency": ratio / (1 if kind == "weak" else ranks),
                    "modelled": is_model,
                }
            )
    how = "modelled" if is_model else f"measured, {options.accelerator}"
    cell = f"{options.shape}, {how}"
    keep(
        "rank_scaling", cell, rows, options.quick, modelled=is_model,
        pack_tokens=options.pack_tokens, packs=packs, rounds=1 if is_model else options.rounds,
    )  # fmt: skip


if __name__ == "__main__":
    main()
