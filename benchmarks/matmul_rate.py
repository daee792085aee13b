"""Attribution's share of the machine's matrix-product rate, on the operations that are necessary.

    python benchmarks/matmul_rate.py [--shape bert-base] [--tokens 12] [--rule adaptive]

``operations.py`` has the formula; torch's own counter says beside it what was computed. The rate is
that of ``linear`` in float32 at the very shapes of a layer's products, for each the best of several
numbers of rows and of several tries, weighted by the operations that a layer spends on each; rate
and attribution are measured in turn, in every round. ``adaptive`` is asked with its default
tolerance.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import torch
from operations import CountedOperations, Shape, necessary_operations
from setting import SHAPES, arguments, keep, random_encoder, random_prompts, seconds
from torch.nn.functional import linear

from kn_lightning.attribution import AttributionSettings, attribute_encoded
from kn_lightning.core.quadrature import ADAPTIVE, RULES

ROWS = (512, 2048, 4096)
TRIES = 5


def product_rates(
    shape: Shape,
    rows: tuple[int, ...] = ROWS,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> dict[str, float]:
    """Operations a second of each of a layer's products, and of all together as ``layer``."""
    h, i = shape.hidden, shape.neurons
    # How often a layer has each: queries, keys, values and attention's output are one shape.
    products = {"H x H": (h, h, 4), "H x I": (h, i, 1), "I x H": (i, h, 1)}
    rates: dict[str, float] = {}
    operations = taken = 0.0
    for name, (wide, out, count) in products.items():
        weight = torch.randn(out, wide, device=device, dtype=dtype)
        rates[name] = 0.0
        for n_rows in rows:
            inputs = torch.randn(n_rows, wide, device=device, dtype=dtype)
            best = min(_product_seconds(inputs, weight) for _ in range(TRIES))
            rates[name] = max(rates[name], 2 * n_rows * wide * out / best)
        operations += count * wide * out
        taken += count * wide * out / rates[name]
    return {**rates, "layer": operations / taken}


def _product_seconds(inputs: torch.Tensor, weight: torch.Tensor, times: int = 3) -> float:
    def run() -> None:
        for _ in range(times):
            linear(inputs, weight)
        if inputs.is_cuda:
            torch.cuda.synchronize()

    return seconds(run) / times


def main() -> None:
    """Measure and keep one cell."""
    parser = arguments(__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="bert-base")
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rule", choices=[ADAPTIVE, *RULES], default=ADAPTIVE)
    parser.add_argument("--nodes", type=int)
    options = parser.parse_args()
    if options.quick:
        options.shape, options.prompts, options.rounds = "tiny", 4, 1
    encoder = random_encoder(options.shape)
    prompts = random_prompts(encoder, options.prompts, options.tokens)
    settings = AttributionSettings(options.rule, options.nodes)
    shape = Shape.of(encoder, options.tokens)
    with CountedOperations() as counted:
        evaluations = attribute_encoded(encoder, prompts, settings).evaluations
    necessary = necessary_operations(shape, evaluations, settings)
    rounds: list[dict[str, Any]] = []
    for _ in range(options.rounds):
        rates = product_rates(shape)
        taken = seconds(lambda: attribute_encoded(encoder, prompts, settings))
        rounds.append({**rates, "seconds": taken, "share": necessary / taken / rates["layer"]})
    row = {
        "rule": options.rule if options.nodes is None else f"{options.rule}, {options.nodes} nodes",
        "evaluations_a_layer": float(evaluations.double().mean()),
        "necessary_gflop_a_prompt": necessary / len(prompts) / 1e9,
        "counted_gflop_a_prompt": counted.total / len(prompts) / 1e9,
        "seconds_a_prompt": median(one["seconds"] for one in rounds) / len(prompts),
        "products_gflop_a_second": median(one["layer"] for one in rounds) / 1e9,
        "share_of_rate": median(one["share"] for one in rounds),
        "worst_round": min(one["share"] for one in rounds),
    }
    cell = f"{options.shape}, {options.tokens} tokens, {row['rule']}"
    keep("matmul_rate", cell, [row], options.quick, prompts=len(prompts), rounds=rounds)


if __name__ == "__main__":
    main()
