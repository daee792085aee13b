"""How evenly packs are dealt: efficiency at 8 to 512 ranks, simulated over measured costs.

    python benchmarks/balance.py [--prompts LAMA.jsonl]

One study with a pack for each concept says what concepts of different sizes really cost: a line in
their tokens, and what each misses of it. A study of the paper's size (742 concepts) with 20,000
prompts is then planned and dealt as always, by the estimate alone, and the measured line with the
misses drawn from those measured says how long each rank takes. Ranks exchange nothing, so the
slowest one's time is the study's. "Largest" is what no way of dealing can exceed, since a concept
is never cut. Concepts' sizes: those of a file in LAMA's form, its subjects masked, or long-tailed
ones; a cell leaves out concepts of more than a 64th of all prompts.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from setting import SHAPES, arguments, keep
from study import write_encoder

from kn_lightning.census import RECORD
from kn_lightning.data.sources import LamaPrompts
from kn_lightning.data.study import Pack, dealt_packs, planned_packs
from kn_lightning.schema import MASK, EncodedGroup, EncodedPrompt

PACK_TOKENS = 2048
CONCEPTS, PROMPTS = 742, 20_000
RANKS = (2, 8, 64, 512)
SIZES = (4, 6, 8, 12, 20, 30, 50)
"""Prompts of the concepts that are measured."""


def group(concept: str, tokens: list[int]) -> EncodedGroup:
    """A concept with prompts of so many tokens; what they say doesn't matter here."""
    prompts = tuple(
        EncodedPrompt(f"{concept}/{i}", concept, "", None, (0,) * n, (0,), (0,))
        for i, n in enumerate(tokens)
    )
    return EncodedGroup(concept, None, prompts)


def measured_costs(shape: str, n_groups: int, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and seconds of concepts that are computed one by one."""
    words = SHAPES[shape]["vocab_size"]
    tokens = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoder(folder / "encoder", shape)
        with (folder / "prompts.jsonl").open("w", encoding="utf-8") as lines:
            for number in range(n_groups):
                prompts = []
                for place in range(random.choice(SIZES)):
                    sentence = [
                        f"w{random.randrange(5, words)}" for _ in range(random.randint(4, 10))
                    ]
                    sentence[(number + place) % len(sentence)] = MASK
                    prompts.append(" ".join(sentence))
                tokens.append(sum(len(prompt.split()) + 2 for prompt in prompts))
                line = {"concept": f"w{5 + number}", "prompts": prompts, "pos": "noun"}
                lines.write(json.dumps(line) + "\n")
        command = [
            sys.executable, str(Path(__file__).parent / "study.py"), "--data", "JsonlPrompts",
            "--model.encoder", str(folder / "encoder"),
            "--data.path", str(folder / "prompts.jsonl"),
            "--data.pack_tokens", "1",
            # A run with a pack to go is not closed, so that each one's record stays.
            "--trainer.limit_predict_batches", str(n_groups - 1), "--run_dir",
        ]  # fmt: skip
        runs = [folder / f"run{number}" for number in range(repeats)]
        for run in runs:
            subprocess.run([*command, str(run)], capture_output=True, check=False)
        # The least of all: what else the machine does is no concept's cost.
        seconds = np.min([pack_seconds(run / "parts") for run in runs], axis=0)
    # The first one warms up.
    return np.array(tokens[1 : len(seconds)], float), seconds[1:]


def pack_seconds(parts: Path) -> list[float]:
    """Attribution and edits of each pack."""
    records = [
        json.loads((part / RECORD).read_text(encoding="utf-8"))["seconds"]
        for part in sorted(parts.iterdir())
    ]
    return [record["attribution"] + record["edits"] for record in records]


def lama_sizes(path: Path) -> list[list[int]]:
    """Tokens of the prompts of the concepts of a file in LAMA's form."""
    groups, _, _ = LamaPrompts(path, mask="subject", max_words=10, min_prompts=4).selected()
    return [[len(prompt.text.split()) + 3 for prompt in one.prompts] for one in groups[:CONCEPTS]]


def long_tailed_sizes() -> list[list[int]]:
    """Tokens of prompts of concepts with at least four, half of them with few."""
    counts = (4 * (1 - np.random.default_rng(0).random(CONCEPTS)) ** (-1 / 1.2)).astype(int)
    return [[random.randint(6, 12) for _ in range(count)] for count in counts]


def scaled(sizes: list[list[int]]) -> list[EncodedGroup]:
    """Groups of 20,000 prompts in all: each concept's own again and again."""
    factor = PROMPTS / sum(map(len, sizes))
    return [
        group(str(number), [own[i % len(own)] for i in range(max(1, round(len(own) * factor)))])
        for number, own in enumerate(sizes)
    ]


def without_giants(sizes: list[list[int]]) -> list[list[int]]:
    """All but the concepts that alone are more than a 64th."""
    return [own for own in sizes if sum(own) <= sum(map(sum, sizes)) / 64]


def simulated(groups: list[EncodedGroup], costs: tuple[np.ndarray, np.ndarray]) -> list[Any]:
    """Rows: efficiency by number of ranks."""
    tokens, seconds = costs
    slope, start = np.polyfit(tokens, seconds, 1)
    misses = seconds / (start + slope * tokens)
    draw = np.random.default_rng(0)
    true = {
        one.concept: draw.choice(misses)
        * (start + slope * sum(len(prompt.input_ids) for prompt in one.prompts))
        for one in groups
    }

    def efficiency(shares: list[list[Pack]]) -> float:
        loads = [
            sum(true[one.concept] for pack in share for one in pack.groups) for share in shares
        ]
        return sum(loads) / len(loads) / max(loads)

    packs = planned_packs(groups, PACK_TOKENS)
    return [
        {
            "ranks": ranks,
            "prompts": sum(len(one.prompts) for one in groups),
            "packs": len(packs),
            "efficiency": efficiency(dealt_packs(packs, ranks)),
            "dealt in turn": efficiency([list(packs[rank::ranks]) for rank in range(ranks)]),
            "largest": min(1.0, sum(true.values()) / ranks / max(true.values())),
        }
        for ranks in RANKS
    ]


def main() -> None:
    """Measure, simulate, keep."""
    parser = arguments(__doc__)
    parser.add_argument("--prompts", type=Path, help="in LAMA's form; else long-tailed sizes")
    parser.add_argument("--shape", choices=["embedded", "tiny"], default="embedded")
    parser.add_argument("--groups", type=int, default=80, help="that are measured")
    parser.add_argument("--repeats", type=int, default=3, help="of the study that measures them")
    options = parser.parse_args()
    if options.quick:
        options.shape, options.groups, options.repeats = "tiny", 10, 1
    random.seed(0)
    costs = measured_costs(options.shape, options.groups, options.repeats)
    sizes = lama_sizes(options.prompts) if options.prompts else long_tailed_sizes()
    name = "ConceptNet's sizes" if options.prompts else "long-tailed sizes"
    for cell, some in ((name, sizes), (f"{name}, without giants", without_giants(sizes))):
        found = simulated(scaled(some), costs)
        slope, start = np.polyfit(*costs, 1)
        line = {"start_in_tokens": start / slope, "milliseconds_a_token": 1e3 * slope}
        keep("balance", cell, found, options.quick, **line)


if __name__ == "__main__":
    main()
