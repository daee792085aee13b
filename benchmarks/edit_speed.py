"""Edits a second against the PyPI package knowledge-neurons, in one run.

    python benchmarks/edit_speed.py [--layers published | uniform] [--sets 6]

Sets of neurons are suppressed (factor 0) and amplified (factor 2) at the mask, and the answer's
probability is measured. Each prompt has its own sets, as many as a study measures by default (a
concept's neurons, three random controls, the most active and another concept's neurons). They are
as large, and lie in such layers, as those that the paper's authors published for
bert-base-uncased; or, the worst case for a climb that starts at the lowest edited layer, in any
layer alike. The package takes one prompt and one edit at a time, as its users call it; the base
pass counts on both sides.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from accuracy import difference
from other_codes import Package
from setting import SHAPES, arguments, keep, paired_rounds, random_encoder, random_prompts, ratios
from torch import Tensor

from kn_lightning.budget import RowBudget
from kn_lightning.core.edits import RowEdits, row_edits
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.staged import StagedForward
from kn_lightning.schema import EncodedPrompt, Neuron

PUBLISHED = (7, 8, 3, 22, 8, 38, 32, 216, 565, 722, 1184, 1880)
"""Knowledge neurons by layer of bert-base-uncased, of 702 concepts together."""
NEURONS_OF_A_CONCEPT = sum(PUBLISHED) / 702
FACTORS = (0.0, 2.0)
Sets = list[list[list[Neuron]]]


def neuron_sets(encoder: Encoder, n_prompts: int, n_sets: int, layers: str) -> Sets:
    """For each prompt its sets of neurons, of 6.67 in the mean."""
    generator = np.random.default_rng(0)
    n_layers, n_neurons = encoder.structure.n_layers, encoder.structure.n_neurons
    weights = np.array(PUBLISHED if layers == "published" else (1,) * len(PUBLISHED))

    def one() -> list[Neuron]:
        size = int(NEURONS_OF_A_CONCEPT + generator.random())
        chosen = generator.choice(len(weights), size, p=weights / weights.sum())
        # By relative depth, where the encoder has another number of layers.
        depths = (chosen * n_layers // len(weights)).tolist()
        neurons = generator.choice(n_neurons, size, replace=False).tolist()
        return [Neuron(layer, neuron) for layer, neuron in zip(depths, neurons, strict=True)]

    return [[one() for _ in range(n_sets)] for _ in range(n_prompts)]


def edited_probabilities(
    encoder: Encoder, prompts: list[EncodedPrompt], sets: Sets, row_tokens: int
) -> Tensor:
    """``[prompts x sets x factors]``: all edits of all prompts together."""
    # Nothing is kept for a backward: twice as much fits, as in a study.
    forward = StagedForward(encoder, 2 * row_tokens)
    base = forward.base(encoder.batch(prompts))
    edits = row_edits((one, factor) for own in sets for one in own for factor in FACTORS)
    place = [i for i, own in enumerate(sets) for _ in own for _ in FACTORS]
    statistics = forward.edited_statistics(
        base,
        torch.tensor(place, device=encoder.device),
        RowEdits(*(part.to(encoder.device) for part in edits)),
    )
    return statistics.probability.cpu()


def package_probabilities(
    package: Package, prompts: list[EncodedPrompt], sets: Sets, n_prompts: int
) -> Tensor:
    """The same of the first prompts, one edit at a time."""
    pairs = list(zip(prompts, sets, strict=True))[:n_prompts]
    return torch.tensor(
        [found for prompt, own in pairs for one in own for found in package.edited(prompt, one)]
    )


def main() -> None:
    """Measure and keep one cell."""
    parser = arguments(__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="bert-base")
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--package_prompts", type=int, default=2, help="of them, for the package")
    parser.add_argument("--sets", type=int, default=6, help="of neurons, for each prompt")
    parser.add_argument("--layers", choices=["published", "uniform"], default="published")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.quick:
        options.shape, options.prompts, options.rounds = "tiny", 4, 1
    encoder = random_encoder(options.shape)
    prompts = random_prompts(encoder, options.prompts, options.tokens)
    sets = neuron_sets(encoder, len(prompts), options.sets, options.layers)
    ours = partial(
        edited_probabilities, encoder, prompts, sets, RowBudget.fitting(encoder).row_tokens
    )
    theirs = partial(
        package_probabilities, Package(encoder), prompts, sets, options.package_prompts
    )
    expected = theirs()
    largest = difference(expected, ours()[: len(expected)])
    times = paired_rounds({"theirs": lambda _: theirs(), "ours": lambda _: ours()}, options.rounds)
    n_edits = options.sets * len(FACTORS)
    rows: list[dict[str, Any]] = []
    for name, own, n_prompts in (
        ("knowledge-neurons", "theirs", options.package_prompts),
        ("this project", "ours", len(prompts)),
    ):
        a_second = [n_edits * n_prompts / taken for taken in times[own]]
        theirs_a_second = [n_edits * options.package_prompts / taken for taken in times["theirs"]]
        faster, worst = ratios(a_second, theirs_a_second)
        rows.append(
            {
                "code": name,
                "edits_a_second": median(a_second),
                "times_faster": faster,
                "worst_round": worst,
            }
        )
    keep(
        "edit_speed",
        f"{options.shape}, {options.tokens} tokens, {options.layers} layers,"
        f" {options.sets} sets a prompt",
        rows,
        options.quick,
        prompts=len(prompts),
        rounds=options.rounds,
        largest_relative_difference=largest,
    )


if __name__ == "__main__":
    main()
