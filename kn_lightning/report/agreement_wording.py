"""``summary.json`` → how far attributions agree, in words: table, caption, and what scores miss."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.agreement import MEASURES
from kn_lightning.report.caption import Caption
from kn_lightning.report.labels import concepts, listed
from kn_lightning.report.language import say, sentences
from kn_lightning.report.listing import Listing, Row
from kn_lightning.report.numerals import count, number, share, with_interval
from kn_lightning.schema import INTEGRATED_GRADIENTS

Summary = dict[str, Any]


def attribution_label(name: str) -> str:
    """An attribution; one that a user added is called as it is."""
    labels = {
        INTEGRATED_GRADIENTS: say("integrated gradients"),
        "activation": say("activation"),
        "gradient_activation": say("gradient × activation"),
        "ablation": say("exact ablation"),
    }
    return labels.get(name, name)


def own_attribution(numbers: Summary) -> str:
    """The name of the study's own; runs of before there was a choice have none."""
    return str(numbers["environment"]["study"].get("attribution", INTEGRATED_GRADIENTS))


def measure_label(measure: str) -> str:
    """A measure of agreement."""
    return {
        "overlap_10": say("shared, of the 10 best"),
        "overlap_coarse": say("shared, of as many as are coarse"),
        "spearman_candidates": say("rank correlation, the best of either"),
        "spearman": say("rank correlation, all neurons"),
    }[measure]


def agreement_listing(numbers: Summary) -> Listing:
    """One row a compared attribution: medians with their intervals."""
    return Listing(
        say(
            "Agreement of other attributions with {own}",
            own=attribution_label(own_attribution(numbers)),
        ),
        (say("Attribution"), *map(measure_label, MEASURES), say("Concepts")),
        tuple(_row(name, found) for name, found in numbers["agreement"].items()),
        note=_reading(numbers),
    )


def _row(attribution: str, found: dict[str, Any]) -> Row:
    cells = []
    for name in MEASURES:
        measure = found["measures"][name]
        write = share if name.startswith("overlap") else number
        cells.append(with_interval(write, measure["median"], measure["median_ci"]))
    n = max(measure["n"] for measure in found["measures"].values())
    return (attribution_label(attribution), *cells, count(n))


def _reading(numbers: Summary) -> str:
    encoder = numbers["environment"]["encoder"]
    n_neurons = encoder["n_layers"] * encoder["n_neurons"]
    text = say(
        "How many of a prompt's best neurons two attributions share, and Spearman's correlation of "
        "their ranks: the mean over a concept's prompts, then the median over concepts with its "
        "95 % bootstrap interval. Ten of the {n} neurons drawn blindly would share {chance}. Among "
        "the best of either are those that stand high in one alone, so that their ranks correlate "
        "less than those of all neurons.",
        n=count(n_neurons),
        chance=share(min(1.0, 10 / n_neurons)),
    )
    ablated = numbers["agreement"].get("ablation")
    if not ablated or ablated["measures"]["spearman"]["n"]:
        return text
    return sentences(
        text,
        say(
            "Exact ablation was computed for {n} neurons a prompt: the best ones of the study, and "
            "the best ones by gradient × activation, its first-order estimate.",
            n=count(round(ablated["n_candidates"])),
        ),
    )


def agreement_caption(numbers: Summary) -> Caption:
    """The words of the figure."""
    n = max(row["measures"]["overlap_10"]["n"] for row in numbers["agreement"].values())
    own = attribution_label(own_attribution(numbers))
    medians = [
        say(
            "{name}: {ten} of the 10 best, rank correlation {ranks}",
            name=attribution_label(name),
            ten=share(row["measures"]["overlap_10"]["median"]),
            ranks=number(row["measures"]["spearman_candidates"]["median"]),
        )
        for name, row in numbers["agreement"].items()
    ]
    return Caption(
        title=say("Agreement with {own}: {concepts}", own=own, concepts=concepts(n)),
        reading=say(
            "How far other attributions find the neurons that {own} finds. A box holds the middle "
            "half of the concepts with the median as its line, whiskers reach from 5 % to 95 % of "
            "them, every concept beyond is a point. At 1 both attributions agree. Two that have "
            "nothing in common share next to no neurons; their ranks correlate with 0 over all "
            "neurons, and with about −0.75 over the best of either, each of which stands high in "
            "one alone.",
            own=own,
        ),
        alt=say("Box plots of agreement. Medians: {list}.", list=listed(*medians)),
    )


def exactness(numbers: Summary) -> list[Row]:
    """How far a layer's scores add up to its total, which is an error of some attributions only."""
    complete, name = numbers["completeness"], own_attribution(numbers)
    if name != INTEGRATED_GRADIENTS:
        distance = say(
            "Sum of a layer's scores beside the change of probability by all its neurons: median "
            "distance (no error, {attribution} need not add up)",
            attribution=attribution_label(name),
        )
        return [(distance, share(complete["median"]))]
    return [
        (say("Error of completeness, median"), share(complete["median"])),
        (say("Error of completeness, 95 % are below"), share(complete["p95"])),
        (say("Error of completeness, largest"), share(complete["max"])),
        (say("Attributions beyond the tolerance"), count(complete["n_above_tolerance"])),
    ]


def evaluations(numbers: Summary) -> list[Row]:
    """What the scores took to compute."""
    found = numbers["completeness"]
    per_prompt, per_layer = found["evaluations_per_prompt"], found["evaluations_per_layer"]
    if own_attribution(numbers) == "ablation":
        return [(say("Ablated neurons a prompt, mean"), count(per_prompt))]
    return [
        (say("Gradient evaluations a prompt, mean"), count(per_prompt)),
        (say("Gradient evaluations a prompt and layer, mean"), count(per_layer)),
    ]
