"""The best neurons by number in ``summary.json`` → sentence, table, and the figure's words."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.caption import Caption
from kn_lightning.report.labels import concepts, interval, listed
from kn_lightning.report.language import plural, say
from kn_lightning.report.listing import Listing
from kn_lightning.report.numerals import count, number, p_value, percent, share, with_interval

Summary = dict[str, Any]
Row = dict[str, Any]
FIGURE = "top_curve"


def source_label(source: str) -> str:
    """Which neurons are suppressed."""
    return {
        "top": say("the concept's best neurons"),
        "top_random": say("random neurons of the same layers"),
    }[source]


def findings(numbers: Summary) -> list[str]:
    """How far the first and the last number of neurons go: one paragraph, or none."""
    points = numbers["top"].get("points", [])
    if not points or not points[0]["top"]["n"]:
        return []
    first, last = points[0], points[-1]
    text = say(
        "Suppressing the {first} with the largest score changes the answer's probability by "
        "{median} in the median ({concepts}), the {last} by {most}; as many random ones of the "
        "same layers by {random} and {most_random}.",
        first=_neurons(first["k"]),
        last=_neurons(last["k"]),
        median=_median(first["top"]),
        most=_median(last["top"]),
        random=_median(first["top_random"]),
        most_random=_median(last["top_random"]),
        concepts=concepts(first["top"]["n"]),
    )
    return [text]


def _neurons(k: int) -> str:
    return plural(k, "{n} neuron", "{n} neurons")


def _median(row: Row) -> str:
    return with_interval(percent, row["median"], row["median_ci"])


def listing(numbers: Summary) -> Listing:
    """One row a number of neurons."""
    return Listing(
        say("Relative change by number of suppressed neurons"),
        (
            say("Neurons"),
            say("Concepts"),
            say("Best ones, median [95 % interval]"),
            say("Middle half"),
            say("Falls by half or more"),
            say("Random ones, median [95 % interval]"),
            say("rank-biserial r"),
            say("adjusted p"),
        ),
        tuple(map(_cells, numbers["top"].get("points", []))),
        note=say(
            "The best neurons of a concept are those with the largest mean score, knowledge "
            "neurons or not. Random ones: as many in each layer, averaged over the draws. The test "
            "is Wilcoxon's signed-rank test of best against random, paired by concept, adjusted "
            "over the numbers (Benjamini–Hochberg)."
        ),
    )


def _cells(point: Row) -> tuple[str, ...]:
    best, test = point["top"], point["test"] or {}
    return (
        count(point["k"]),
        count(best["n"]),
        _median(best),
        interval(percent(best["p25"]), percent(best["p75"])),
        share(best["falls_by_half"]),
        _median(point["top_random"]),
        number(test.get("effect_size")),
        p_value(test.get("p_adjusted")),
    )


def captions(numbers: Summary) -> dict[str, Caption]:
    """The words of the figure, where there are points."""
    points = numbers["top"].get("points", [])
    if not points or not points[0]["top"]["n"]:
        return {}
    medians = (f"{_neurons(point['k'])} {percent(point['top']['median'])}" for point in points)
    return {
        FIGURE: Caption(
            title=say(
                "Change of the answer's probability by number of suppressed neurons: {concepts}",
                concepts=concepts(max(point["top"]["n"] for point in points)),
            ),
            reading=say(
                "Median of the relative change over concepts by the number of a concept's best "
                "neurons that are suppressed together, with its 95 % bootstrap interval as a band, "
                "and the middle half of the concepts as lines. A curve that falls at once and then "
                "stays says that few neurons carry the answer; one that falls steadily says that "
                "many do."
            ),
            alt=say("Curves by number of neurons. Medians: {list}.", list=listed(*medians)),
        )
    }
