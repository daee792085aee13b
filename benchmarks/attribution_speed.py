"""Attribution on bert-base's shape against the PyPI package knowledge-neurons, in one run.

    python benchmarks/attribution_speed.py [--rounds 5] [--prompts 24] [--tokens 12]

Weights are random, on the CPU, float32; both sides get the same model and prompts. Each round times
the package on one prompt (it takes no more) and this project on all prompts, one after the other,
so that what else the machine does meets both. Ratios are medians over rounds of seconds a prompt.
Prints a table and writes ``benchmarks/results/attribution_speed.json``.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from knowledge_neurons import KnowledgeNeurons
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from kn_lightning.attribution import AttributionSettings, attribute_encoded
from kn_lightning.data.encoding import encode_prompt
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.loading import load_encoder
from kn_lightning.schema import Attribution, EncodedPrompt, Prompt

RESULTS = Path(__file__).parent / "results" / "attribution_speed.json"
PACKAGE_STEPS = 20
RULES = {
    "adaptive, tolerance 1 %": AttributionSettings(),
    "gauss_legendre, 5 nodes": AttributionSettings("gauss_legendre", 5),
    "gauss_legendre, 20 nodes": AttributionSettings("gauss_legendre", 20),
}


def random_encoder(initializer_range: float) -> Encoder:
    """bert-base's shape; every word ``w<number>`` is a token of its vocabulary."""
    torch.manual_seed(0)
    config = BertConfig(initializer_range=initializer_range)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += [f"w{number}" for number in range(len(tokens), config.vocab_size)]
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(tokens)})
    return load_encoder(BertForMaskedLM(config), tokenizer)


def random_prompts(n_prompts: int, n_tokens: int) -> list[str]:
    """Sentences of ``n_tokens`` with the special ones, the mask at changing places."""
    words = torch.randint(1000, 30000, (n_prompts, n_tokens - 2))
    sentences = [[f"w{word}" for word in row] for row in words.tolist()]
    for number, sentence in enumerate(sentences):
        sentence[number % len(sentence)] = "[MASK]"
    return [" ".join(sentence) for sentence in sentences]


def seconds(run: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def relative_errors(result: Attribution, truth: Attribution) -> list[float]:
    """Relative L2 error of each prompt's scores."""
    difference = (result.scores - truth.scores).flatten(1).norm(dim=1)
    return (difference / truth.scores.flatten(1).norm(dim=1)).tolist()


def percentile(values: list[float], share: float) -> float:
    """Quantile of a list."""
    return float(torch.tensor(values, dtype=torch.float64).quantile(share))


def measured(encoder: Encoder, texts: list[str], answers: list[str], rounds: int) -> dict[str, Any]:
    """Times and errors of all rules and of the package."""
    encoded: list[EncodedPrompt] = []
    for number, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        prompt = encode_prompt(encoder, Prompt(text), answer, str(number))
        assert isinstance(prompt, EncodedPrompt), prompt
        encoded.append(prompt)
    package = KnowledgeNeurons(encoder.model, encoder.tokenizer, model_type="bert")
    times: dict[str, list[float]] = {"package": [], **{name: [] for name in RULES}}
    for number in range(rounds):
        text, answer = texts[number % len(texts)], answers[number % len(texts)]
        times["package"].append(
            seconds(lambda t=text, a=answer: package.get_scores(t, a, pbar=False))
        )
        for name, settings in RULES.items():
            whole = seconds(lambda s=settings: attribute_encoded(encoder, encoded, s))
            times[name].append(whole / len(encoded))
    few = encoded[:4]
    truth = attribute_encoded(encoder, few, AttributionSettings("gauss_legendre", 64))
    rows = []
    for name, settings in RULES.items():
        result = attribute_encoded(encoder, few, settings)
        ratios = [a / b for a, b in zip(times["package"], times[name], strict=True)]
        rows.append(
            {
                "rule": name,
                "seconds_a_prompt": statistics.median(times[name]),
                "times_faster": statistics.median(ratios),
                "times_faster_worst": min(ratios),
                "evaluations_a_layer": float(result.evaluations.float().mean()),
                "error_p95": percentile(relative_errors(result, truth), 0.95),
            }
        )
    own = attribute_encoded(encoder, few, AttributionSettings("linspace", PACKAGE_STEPS))
    return {
        "package_seconds_a_prompt": statistics.median(times["package"]),
        "package_error_p95": percentile(relative_errors(own, truth), 0.95),
        "rules": rows,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--initializer_range", type=float, default=0.02, help="of the weights")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    encoder = random_encoder(options.initializer_range)
    texts = random_prompts(options.prompts, options.tokens)
    answers = [f"w{number}" for number in range(100, 100 + options.prompts)]
    result = {
        "settings": vars(options),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            **{name: version(name) for name in ("torch", "transformers", "knowledge-neurons")},
        },
        **measured(encoder, texts, answers, options.rounds),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    write = sys.stdout.write
    write(f"package, 20 steps: {result['package_seconds_a_prompt']:.2f} s a prompt\n")
    for row in result["rules"]:
        write(
            f"{row['rule']}: {row['seconds_a_prompt']:.3f} s a prompt, {row['times_faster']:.1f} x"
            f" (worst {row['times_faster_worst']:.1f} x), {row['evaluations_a_layer']:.1f}"
            f" evaluations a layer, error p95 {row['error_p95']:.2%}\n"
        )


if __name__ == "__main__":
    main()
