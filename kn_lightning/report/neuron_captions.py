"""``summary.json`` → the words of the figures of neurons, their likeness, and completeness."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.agreement_wording import agreement_caption, own_attribution
from kn_lightning.report.caption import Caption
from kn_lightning.report.labels import attributions, concepts, interval, listed, mean_of_pairs
from kn_lightning.report.language import plural, say, sentences
from kn_lightning.report.numerals import count, number, share
from kn_lightning.schema import INTEGRATED_GRADIENTS

Summary = dict[str, Any]


def captions(numbers: Summary) -> dict[str, Caption]:
    """The words of every such figure that this run can have, by the figure's name."""
    result: dict[str, Caption] = {}
    if numbers["neurons"]["total"]:
        result["neurons_by_layer"] = _neurons_by_layer(numbers)
    if numbers["counts"]["concepts"]:
        result["neurons_per_concept"] = _neurons_per_concept(numbers)
    if numbers["consistency"] and numbers["consistency"]["n"]:
        result["consistency"] = _consistency(numbers)
    if numbers["overlap"] and numbers["overlap"]["neurons_by_n_concepts"]:
        result["overlap"] = _overlap(numbers)
    if numbers["completeness"]["n"] and own_attribution(numbers) == INTEGRATED_GRADIENTS:
        result["completeness"] = _completeness(numbers)
    if numbers["agreement"]:
        result["agreement"] = agreement_caption(numbers)
    return result


def _neurons_by_layer(numbers: Summary) -> Caption:
    neurons, published = numbers["neurons"], numbers["published"]
    reading = say(
        "The first bar counts a neuron once for every concept that it serves, the second once "
        "only: where the first is much higher, concepts share neurons."
    )
    if published:
        third = say(
            "The third is what the paper's authors published for {encoder}: {neurons} neurons of "
            "{concepts}, scaled to as many concepts as have neurons here.",
            encoder=published["encoder"],
            neurons=count(published["neurons"]),
            concepts=concepts(published["concepts"]),
        )
        reading = sentences(reading, third)
    return Caption(
        title=say(
            "Knowledge neurons by layer: {n} of {concepts}",
            n=count(neurons["total"]),
            concepts=concepts(neurons["per_concept_with_neurons"]["n"]),
        ),
        reading=reading,
        alt=say(
            "Bars by layer from 0 up: {list}; distinct neurons: {distinct}.",
            list=", ".join(map(count, neurons["by_layer"])),
            distinct=", ".join(map(count, neurons["distinct_by_layer"])),
        ),
    )


def _neurons_per_concept(numbers: Summary) -> Caption:
    sizes = numbers["neurons"]["per_concept"]
    return Caption(
        title=say("Knowledge neurons per concept: {concepts}", concepts=concepts(sizes["n"])),
        reading=say(
            "How many concepts have how many knowledge neurons; 0 counts those without one."
        ),
        alt=say(
            "Histogram: mean {mean}, median {median}, range {range}.",
            mean=count(sizes["mean"]),
            median=count(sizes["median"]),
            range=interval(count(sizes["min"]), count(sizes["max"])),
        ),
    )


def _consistency(numbers: Summary) -> Caption:
    found = numbers["consistency"]
    return Caption(
        title=say(
            "Consistency across the wordings of a concept: {concepts}",
            concepts=concepts(found["n"]),
        ),
        reading=say(
            "How alike the coarse neurons of two prompts of one concept are: the mean Jaccard "
            "index over its pairs of prompts. The neurons of a concept that the model holds as "
            "such lie to the right of the dashed line, the mean over prompts of two concepts."
        ),
        alt=say(
            "Histogram: mean {mean}, median {median}, middle half {range}; prompts of two concepts "
            "{between}.",
            mean=number(found["mean"]),
            median=number(found["median"]),
            range=interval(number(found["p25"]), number(found["p75"])),
            between=number(found["random_expectation"]),
        ),
    )


def _overlap(numbers: Summary) -> Caption:
    found, distinct = numbers["overlap"], numbers["neurons"]["distinct"]
    reading = say(
        "How many neurons serve how many concepts, both axes logarithmic: at the left neurons of "
        "one concept alone, at the right those of many."
    )
    if found["n_pairs"]:
        pairs = say(
            "{disjoint} of the {n} pairs of concepts have no neuron in common. Mean Jaccard index "
            "of two concepts: {same_pos} within a part of speech, {different_pos} across; "
            "{same_relation} with a relation in common, {different_relation} without.",
            disjoint=share(found["share_disjoint"]),
            n=count(found["n_pairs"]),
            same_pos=mean_of_pairs(found["same_pos"]),
            different_pos=mean_of_pairs(found["different_pos"]),
            same_relation=mean_of_pairs(found["same_relation"]),
            different_relation=mean_of_pairs(found["different_relation"]),
        )
        reading = sentences(reading, pairs)
    return Caption(
        title=say(
            "Neurons by the number of their concepts: {neurons}",
            neurons=plural(distinct, "{n} distinct neuron", "{n} distinct neurons"),
        ),
        reading=reading,
        alt=say(
            "Points, concepts: neurons. {list}.",
            list=listed(
                *(f"{n}: {count(neurons)}" for n, neurons in found["neurons_by_n_concepts"])
            ),
        ),
    )


def _completeness(numbers: Summary) -> Caption:
    values = numbers["completeness"]
    return Caption(
        title=say(
            "Error of completeness: {attributions} (prompt × layer)",
            attributions=attributions(values["n"]),
        ),
        reading=say(
            "The scores of a layer should add up to the change of probability between no and full "
            "activation. Shown is what is missing, relative to the prompt's largest such change "
            "over its layers; farther left is better. The dashed line is the tolerance of the "
            "study."
        ),
        alt=say(
            "Histogram of the relative residual on a logarithmic axis: median {median}, 95 % of "
            "values below {p95}, largest {largest}.",
            median=share(values["median"]),
            p95=share(values["p95"]),
            largest=share(values["max"]),
        ),
    )
