"""``summary.json`` → the title, the caption and the alternative text of each figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kn_lightning.report.numerals import count, of, percent, share, whole_percent
from kn_lightning.report.rankings import KITTEN, N_POS
from kn_lightning.report.wording import edit_label, kind_label

Summary = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Caption:
    """The words of a figure.

    Attributes:
        title: What is shown, with its n; printed in the figure.
        reading: How to read it; printed below it.
        alt: What it shows, for those who do not see it.
    """

    title: str
    reading: str
    alt: str


def captions(numbers: Summary) -> dict[str, Caption]:
    """The words of every figure that this run can have, by the figure's name."""
    result: dict[str, Caption] = {}
    for edit in ("suppress", "amplify"):
        own = numbers["changes"].get(edit, {}).get("own")
        if own and own["n"]:
            result[f"{edit}_concepts"] = _concepts(numbers, edit)
            result[f"{edit}_histogram"] = _histogram(numbers, edit)
            if numbers["by_pos"]:
                result[f"{edit}_by_pos"] = _by_pos(numbers, edit)
    if result:
        result["change_by_kind"] = _change_by_kind(numbers)
    if numbers["neurons"]["total"]:
        result["neurons_by_layer"] = _neurons_by_layer(numbers)
    if numbers["counts"]["concepts"]:
        result["neurons_per_concept"] = _neurons_per_concept(numbers)
    if numbers["completeness"]["n"]:
        result["completeness"] = _completeness(numbers)
    return result


def _medians(numbers: Summary, edit: str) -> str:
    kinds = numbers["changes"][edit]
    return "; ".join(
        f"{kind_label(kind, numbers)} {percent(row['median'])}"
        for kind, row in kinds.items()
        if row["n"]
    )


def _concepts(numbers: Summary, edit: str) -> Caption:
    n = len(numbers["window"][edit])
    return Caption(
        title=f"Change of the answer's probability, {edit_label(edit)}: "
        f"{of(n, 'concept')} around “{KITTEN}”",
        reading=(
            f"The concepts around “{KITTEN}” in dictionary order, a sample chosen by the alphabet "
            "and not by its result (the paper's figures 3 and 4). The first bar is the relative "
            "change on the concept's own prompts, the second that on "
            f"{kind_label('unrelated', numbers)}. The knowledge neurons of each concept are "
            "edited. A bar with an arrow goes on to the value printed beside it."
        ),
        alt=f"Bars for {of(n, 'concept')}: "
        + "; ".join(f"{row['concept']} {percent(row['own'])}" for row in numbers["window"][edit]),
    )


def _histogram(numbers: Summary, edit: str) -> Caption:
    n = numbers["changes"][edit]["own"]["n"]
    bins = numbers["histograms"][edit]
    return Caption(
        title=f"Change of the answer's probability, {edit_label(edit)}: {of(n, 'concept')}",
        reading=(
            f"Concepts by relative change, {bins['bins']} bins from {whole_percent(bins['low'])} "
            f"to {whole_percent(bins['high'])} (the paper's ranges). What lies outside is counted "
            "in the legend. The vertical axis has a square-root scale, so that rare changes stay "
            "visible beside a high peak. The farther the filled outline (own prompts) lies from "
            "the two others, the more the neurons found belong to their concept."
        ),
        alt=f"Histogram. Median changes: {_medians(numbers, edit)}.",
    )


def _by_pos(numbers: Summary, edit: str) -> Caption:
    n = numbers["changes"][edit]["own"]["n"]
    parts = "; ".join(
        f"{row['pos'] or 'not given'} {percent(row['own_median'].get(edit))}"
        for row in numbers["by_pos"]
    )
    return Caption(
        title=f"Change on own prompts by part of speech, {edit_label(edit)}: {of(n, 'concept')}",
        reading="As the histogram above, for own prompts alone, one panel a part of speech (the "
        f"{N_POS} with most prompts; the table above has all). The heights of the panels differ.",
        alt=f"Histograms by part of speech. Medians on own prompts: {parts}.",
    )


def _change_by_kind(numbers: Summary) -> Caption:
    n = max(row["n"] for kinds in numbers["changes"].values() for row in kinds.values())
    return Caption(
        title=f"Relative change by kind of prompts and neurons: {of(n, 'concept')}",
        reading=(
            "A box holds the middle half of the concepts with the median as its line, whiskers "
            "reach from 5 % to 95 % of them, and every concept beyond is a point: none is left "
            "out. The axis is linear between −10 % and +10 % and logarithmic beyond. If the "
            "method works, own lies far from 0 and the others near it."
        ),
        alt="Box plots of the relative change. Medians: "
        + " / ".join(
            f"{edit_label(edit)}: {_medians(numbers, edit)}" for edit in numbers["changes"]
        ),
    )


def _neurons_by_layer(numbers: Summary) -> Caption:
    neurons = numbers["neurons"]
    return Caption(
        title=f"Knowledge neurons by layer: {count(neurons['total'])} of "
        f"{of(neurons['per_concept_with_neurons']['n'], 'concept')}",
        reading="The left bar counts a neuron once for every concept that it serves, the right bar "
        "once only: where the left one is much higher, concepts share neurons.",
        alt="Bars by layer from 0 up: " + ", ".join(map(count, neurons["by_layer"])) + ".",
    )


def _neurons_per_concept(numbers: Summary) -> Caption:
    sizes = numbers["neurons"]["per_concept"]
    return Caption(
        title=f"Knowledge neurons per concept: {of(sizes['n'], 'concept')}",
        reading="How many concepts have how many knowledge neurons; 0 counts those without one.",
        alt=f"Histogram: mean {count(sizes['mean'])}, median {count(sizes['median'])}, "
        f"from {count(sizes['min'])} to {count(sizes['max'])} neurons.",
    )


def _completeness(numbers: Summary) -> Caption:
    values = numbers["completeness"]
    return Caption(
        title=f"Error of completeness: {of(values['n'], 'attribution')} (prompt × layer)",
        reading=(
            "The scores of a layer should add up to the change of probability between no and "
            "full activation. Shown is what is missing, relative to the prompt's largest such "
            "change over its layers; farther left is better. The dashed line is the tolerance of "
            "the study."
        ),
        alt="Histogram of the relative residual on a logarithmic axis: "
        f"median {share(values['median'])}, 95 % of values below {share(values['p95'])}, "
        f"largest {share(values['max'])}.",
    )
