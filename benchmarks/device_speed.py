"""Prompts a second on a device, by precision and by how much is computed together.

    python benchmarks/device_speed.py [--device cuda | cpu]

The same code path on both; the CPU gets fewer prompts. Precision is the Trainer's own plugin, as in
a study. For each precision: the share of that precision's measured matrix-product rate
(``matmul_rate.py``), the agreement of refined neurons with those of float32 (mean Jaccard over
concepts, also on the trained encoder of this package), the kernels that take longest, and how long
the paper's study and all of ParaRel would take.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from statistics import mean, median
from typing import Any

import torch
from edit_speed import FACTORS, edited_probabilities, neuron_sets
from lightning import Trainer
from matmul_rate import ROWS, product_rates
from operations import Shape, necessary_operations
from setting import (
    SHAPES,
    arguments,
    keep,
    random_encoder,
    random_prompts,
    seconds,
    trained_prompts,
)
from torch.profiler import ProfilerActivity, profile

from kn_lightning.attribution import AttributionSettings, attribute_encoded
from kn_lightning.budget import RowBudget
from kn_lightning.core.neurons import coarse_neurons, refined_neurons
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.loading import EMBEDDED, load_encoder
from kn_lightning.schema import Attribution, EncodedPrompt

DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
CUDA_ROWS = (8192, 32768)
SETS = 6
KERNELS = 12
# A study of the paper's size: 742 concepts; that they have 4.9 prompts each is an assumption. By
# default each is edited on its own prompts, eight others and an unrelated concept's.
CONCEPTS, PROMPTS_EACH, OTHERS = 742, 4.9, 8
PARAREL_PROMPTS = 253_448


class Measurement:
    """An encoder and its prompts on a device, in one of the Trainer's precisions."""

    def __init__(self, encoder: Encoder, prompts: list[EncodedPrompt], precision: Any) -> None:
        self.encoder, self.prompts = encoder, prompts
        device = "gpu" if encoder.device.type == "cuda" else "cpu"
        trainer = Trainer(
            accelerator=device, devices=1, precision=precision, logger=False,
            enable_checkpointing=False,
        )  # fmt: skip
        self._context = trainer.precision_plugin.predict_step_context

    def attribution(self, budget: RowBudget) -> Attribution:
        """As ``predict_step`` computes it; its result lies on the CPU, so the device is done."""
        with self._context():
            return attribute_encoded(self.encoder, self.prompts, AttributionSettings(), budget)

    def edits_a_second(self, row_tokens: int, rounds: int) -> float:
        """Of edits in bulk, neurons lying where the paper found them."""
        sets = neuron_sets(self.encoder, len(self.prompts), SETS, "published")
        run = partial(edited_probabilities, self.encoder, self.prompts, sets, row_tokens)
        with self._context():
            run()
            taken = median(seconds(run) for _ in range(rounds))
        return len(self.prompts) * SETS * len(FACTORS) / taken

    def refined(self, attribution: Attribution) -> list[set[tuple[int, int]]]:
        """Refined neurons of each concept."""
        found, start = [], 0
        for _, group in groupby(self.prompts, lambda prompt: prompt.concept):
            scores = attribution.scores[start : (start := start + len(list(group)))]
            refined = refined_neurons(scores, coarse_neurons(scores, 0.2), 0.5)
            found.append(set(zip(refined.layer.tolist(), refined.neuron.tolist(), strict=True)))
        return found

    def kernels(self, budget: RowBudget) -> list[dict[str, Any]]:
        """Those that take longest, with their share of all."""
        cuda = self.encoder.device.type == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        with profile(activities=activities) as profiled:
            self.attribution(budget)
        time = "self_device_time_total" if cuda else "self_cpu_time_total"
        # On CUDA a kernel's time stands at the operation that started it once more.
        kind = "CUDA" if cuda else "CPU"
        averages = [one for one in profiled.key_averages() if one.device_type.name == kind]
        events = [(getattr(event, time), event) for event in averages]
        total = sum(taken for taken, _ in events)
        events.sort(key=lambda pair: -pair[0])
        return [
            {"kernel": event.key[:60], "share": taken / total, "calls": event.count}
            for taken, event in events[:KERNELS]
        ]


def jaccard(ours: Iterable[set[Any]], theirs: Iterable[set[Any]]) -> float:
    """Mean over concepts of shared neurons by all neurons; two empty sets agree."""
    pairs = zip(ours, theirs, strict=True)
    return mean(len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs)


@contextmanager
def watched(device: torch.device) -> Iterator[list[int]]:
    """Percents of the time in which a GPU was busy, five a second; there when the block is left."""
    busy: list[int] = []
    if device.type != "cuda" or shutil.which("nvidia-smi") is None:
        yield busy
        return
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    command += ["--loop-ms=200", f"--id={torch.cuda.current_device()}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        try:
            yield busy
        finally:
            watch.terminate()
            busy += [int(word) for word in watch.communicate()[0].split() if word.isdigit()]


def budget_row(
    measurement: Measurement, row_tokens: int, rounds: int, rate: float, shape: Shape
) -> dict[str, Any]:
    """Prompts a second with one budget."""
    budget, device = RowBudget(row_tokens), measurement.encoder.device
    necessary = necessary_operations(
        shape, measurement.attribution(budget).evaluations, AttributionSettings()
    )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with watched(device) as busy:
        taken = median(seconds(lambda: measurement.attribution(budget)) for _ in range(rounds))
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {
        "row_tokens": budget.row_tokens,
        "prompts_a_second": len(measurement.prompts) / taken,
        "necessary_tflop_a_second": necessary / taken / 1e12,
        "share_of_rate": necessary / taken / rate,
        "gpu_busy_percent": median(busy) if busy else None,
        "gpu_gib": None if memory is None else memory / (1 << 30),
    }


def projection(precision: str, prompts_a_second: float, edits_a_second: float) -> dict[str, Any]:
    """Seconds of whole studies."""
    prompts = CONCEPTS * PROMPTS_EACH
    edits = CONCEPTS * (2 * PROMPTS_EACH + OTHERS) * SETS * len(FACTORS)
    return {
        "precision": precision,
        "prompts_a_second": prompts_a_second,
        "edits_a_second": edits_a_second,
        "paper_attribution_seconds": prompts / prompts_a_second,
        "paper_edits_seconds": edits / edits_a_second,
        "pararel_attribution_seconds": PARAREL_PROMPTS / prompts_a_second,
    }


def main() -> None:
    """Measure and keep three cells: budgets, projections, kernels."""
    parser = arguments(__doc__)
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if cuda else "cpu")
    parser.add_argument("--shape", choices=SHAPES, default="bert-base")
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--prompts", type=int, help="default: 2,048 on CUDA, 8 on the CPU")
    parser.add_argument(
        "--row_tokens", type=int, nargs="+", help="default: some around the fitting"
    )
    parser.add_argument(
        "--precision", choices=DTYPES, nargs="+", help="default: all; no 16 on CPUs"
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.quick:
        options.shape, options.prompts, options.rounds = "tiny", 8, 1
    cuda = options.device == "cuda"
    encoder, trained = random_encoder(options.shape), load_encoder(EMBEDDED)
    for either in (encoder, trained):
        either.model.to(options.device)
    prompts = random_prompts(encoder, options.prompts or (2048 if cuda else 8), options.tokens)
    known = trained_prompts(trained, None, 16 if options.quick else 200)
    fitting = RowBudget.fitting(encoder).row_tokens
    budgets = options.row_tokens or [max(1, fitting // part) for part in (16, 4, 1)]
    # Lightning knows no 16-mixed on the CPU and takes bf16-mixed instead.
    precisions = options.precision or [name for name in DTYPES if cuda or name != "16-mixed"]
    shape = Shape.of(encoder, options.tokens)
    rows, projections, kernels = [], [], []
    reference: dict[str, list[set[tuple[int, int]]]] = {}
    for precision in dict.fromkeys(["32-true", *precisions]):
        measurement = Measurement(encoder, prompts, precision)
        of_trained = Measurement(trained, known, precision)
        rate = product_rates(shape, CUDA_ROWS if cuda else ROWS, options.device, DTYPES[precision])[
            "layer"
        ]
        agreement = {}
        for name, one in (("random", measurement), ("trained", of_trained)):
            found = one.refined(one.attribution(RowBudget(budgets[0])))
            agreement[f"jaccard_{name}"] = jaccard(found, reference.setdefault(name, found))
        measured = [budget_row(measurement, n, options.rounds, rate, shape) for n in budgets]
        rows += [{"precision": precision, **row, **agreement} for row in measured]
        best = max(measured, key=lambda row: row["prompts_a_second"])
        edits = measurement.edits_a_second(best["row_tokens"], options.rounds)
        projections.append(projection(precision, best["prompts_a_second"], edits))
        slowest = measurement.kernels(RowBudget(best["row_tokens"]))
        kernels += [{"precision": precision, **row} for row in slowest]
    device = torch.cuda.get_device_name() if cuda else "CPU"
    cell = f"{options.shape}, {options.tokens} tokens, {device}"
    for name, table in (("", rows), ("projected: ", projections), ("kernels: ", kernels)):
        keep(
            "device_speed", name + cell, table, options.quick, device=device, prompts=len(prompts),
            rounds=options.rounds,
        )  # fmt: skip


if __name__ == "__main__":
    main()
