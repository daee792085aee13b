"""``summary.json`` → the title, the caption and the alternative text of each figure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kn_lightning.report import neuron_captions, top_wording, value_wording, weight_wording
from kn_lightning.report.caption import Caption
from kn_lightning.report.comparison_wording import pos_finding
from kn_lightning.report.effects import SHOWN
from kn_lightning.report.labels import (
    concepts,
    edit_label,
    kind_label,
    listed,
    main_edits,
    pos_label,
    times,
)
from kn_lightning.report.language import say, sentences
from kn_lightning.report.numerals import count, percent, whole_percent
from kn_lightning.report.rankings import KITTEN
from kn_lightning.report.wording import own_change

Summary = dict[str, Any]


def captions(numbers: Summary) -> dict[str, Caption]:
    """The words of every figure that this run can have, by the figure's name."""
    result: dict[str, Caption] = {}
    for edit in ("suppress", "amplify"):
        if own_change(numbers, edit):
            result[f"{edit}_concepts"] = _concepts(numbers, edit)
            result[f"{edit}_histogram"] = _histogram(numbers, edit)
            if numbers["by_pos"]:
                result[f"{edit}_by_pos"] = _by_pos(numbers, edit)
    if result:
        result["change_by_kind"] = _change_by_kind(numbers)
    if numbers["doses"]:
        result["dose_curve"] = _dose_curve(numbers)
    result |= top_wording.captions(numbers)
    result |= weight_wording.captions(numbers) | value_wording.captions(numbers)
    return result | neuron_captions.captions(numbers)


def _medians(numbers: Summary, edit: str, shown: Collection[str] | None = None) -> str:
    return listed(
        *(
            f"{kind_label(kind, numbers)} {percent(row['median'])}"
            for kind, row in numbers["changes"][edit].items()
            if row["n"] and (shown is None or kind in shown)
        )
    )


def _concepts(numbers: Summary, edit: str) -> Caption:
    window = numbers["window"][edit]
    values = {"concepts": concepts(len(window)), "kitten": KITTEN, "edit": edit_label(edit)}
    if len(window) == numbers["changes"][edit]["own"]["n"]:
        title = say("Change of the answer's probability by concept, {edit}: {concepts}", **values)
        chosen = say("All concepts in dictionary order (the paper's figures 3 and 4 show 15).")
    else:
        title = say(
            "Change of the answer's probability, {edit}: {concepts} around “{kitten}”", **values
        )
        chosen = say(
            "The concepts around “{kitten}” in dictionary order, a sample chosen by the alphabet "
            "and not by its result (the paper's figures 3 and 4).",
            **values,
        )
    bars = say(
        "The first bar is the relative change on the concept's own prompts, the second that on "
        "{unrelated}. The knowledge neurons of each concept are edited. A bar with an arrow goes "
        "on to the value printed beside it.",
        unrelated=kind_label("unrelated", numbers),
    )
    return Caption(
        title=title,
        reading=sentences(chosen, bars),
        alt=say(
            "Bars for {concepts}, own prompts: {list}",
            list=listed(*(f"{row['concept']} {percent(row['own'])}" for row in window)),
            **values,
        ),
    )


def _histogram(numbers: Summary, edit: str) -> Caption:
    bins = numbers["histograms"][edit]
    return Caption(
        title=say(
            "Change of the answer's probability, {edit}: {concepts}",
            edit=edit_label(edit),
            concepts=concepts(numbers["changes"][edit]["own"]["n"]),
        ),
        reading=say(
            "Concepts by relative change, {bins} bins from {low} to {high} (the ranges of the "
            "paper's figures 5 and 6). What lies outside is counted in the legend. The vertical "
            "axis has a square-root scale, so that rare changes stay visible beside a high peak. "
            "The farther the filled outline (own prompts) lies from the two others, the more the "
            "neurons found belong to their concept.",
            bins=count(bins["bins"]),
            low=whole_percent(bins["low"]),
            high=whole_percent(bins["high"]),
        ),
        alt=say("Histogram. Median changes: {list}.", list=_medians(numbers, edit, SHOWN)),
    )


def _by_pos(numbers: Summary, edit: str) -> Caption:
    medians = (
        f"{pos_label(row['pos'])} {percent(row['own_median'].get(edit))}"
        for row in numbers["by_pos"]
    )
    reading = say(
        "As the histogram above, for own prompts alone: nouns, verbs with adjectives and adverbs "
        "(the paper's figures 7 and 8), and the rest. The heights of the panels differ; the table "
        "has the finer parts of speech."
    )
    return Caption(
        title=say(
            "Change on own prompts by part of speech, {edit}: {concepts}",
            edit=edit_label(edit),
            concepts=concepts(numbers["changes"][edit]["own"]["n"]),
        ),
        reading=sentences(reading, pos_finding(numbers, edit)),
        alt=say(
            "Histograms by part of speech. Medians on own prompts: {list}.",
            list=listed(*medians),
        ),
    )


def _change_by_kind(numbers: Summary) -> Caption:
    n = max(row["n"] for kinds in numbers["changes"].values() for row in kinds.values())
    return Caption(
        title=say(
            "Relative change by kind of prompts and neurons: {concepts}", concepts=concepts(n)
        ),
        reading=say(
            "A box holds the middle half of the concepts with the median as its line, whiskers "
            "reach from 5 % to 95 % of them, and every concept beyond is a point: none is left "
            "out. The axis is linear between −10 % and +10 % and logarithmic beyond. If the "
            "method works, own lies far from 0 and the others near it."
        ),
        alt=say(
            "Box plots of the relative change. Medians: {list}",
            list=" / ".join(
                f"{edit_label(edit)}: {_medians(numbers, edit)}" for edit in main_edits(numbers)
            ),
        ),
    )


def _dose_curve(numbers: Summary) -> Caption:
    doses = numbers["doses"]
    n = max(point["n"] for points in doses.values() for point in points)
    medians = (
        f"{kind_label(kind, numbers)} "
        + ", ".join(
            f"{times(format(point['factor'], 'g'))} {percent(point['median'])}" for point in points
        )
        for kind, points in doses.items()
    )
    return Caption(
        title=say("Change of the answer's probability by factor: {concepts}", concepts=concepts(n)),
        reading=say(
            "Median of the relative change over concepts by the factor that the activations are "
            "multiplied by, with its 95 % bootstrap interval as a band. At factor 1 nothing is "
            "edited and the change is 0 by definition. The vertical axis is linear between −10 % "
            "and +10 % and logarithmic beyond."
        ),
        alt=say("Curves of the median change by factor: {list}.", list=listed(*medians)),
    )
