"""Numbers of a formation study → its sentences, captions and tables."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.caption import Caption
from kn_lightning.report.formation import ALL, FOREIGN
from kn_lightning.report.formation_timing import FIRST, HALF, LASTING
from kn_lightning.report.listing import Listing
from kn_lightning.report.numerals import (
    count,
    number,
    p_value,
    probability,
    whole_percent,
    with_interval,
)
from kn_lightning.report.statistics import MIN_N

Numbers = dict[str, Any]

_KINDS = {FIRST: "for the first time", LASTING: "from then on"}


def findings(numbers: Numbers) -> list[str]:
    """What the report begins with."""
    steps = numbers["steps"]
    found = numbers["curves"][ALL]
    first, last = ({name: points[place] for name, points in found.items()} for place in (0, -1))
    timing = numbers["timing"][ALL][FIRST]
    before_last = {name: points[-2] for name, points in found.items()}
    sentences = [
        f"{count(numbers['n_concepts'])} concepts at {len(steps)} steps, {count(steps[0])} to"
        f" {count(steps[-1])}: their mean probability goes from"
        f" {_value(first['probability'], probability)} to"
        f" {_value(last['probability'], probability)}"
        f" and their knowledge neurons from {_value(first['n_neurons'], number)} to"
        f" {_value(last['n_neurons'], number)} a concept.",
        f"The median concept's probability exceeds half of its last value at step"
        f" {_median(timing['probability'])}; half of its last neurons are there at step"
        f" {_median(timing['neurons'])}.",
        order_sentence(numbers["order_by_share"]),
        f"One measurement before the last, the Jaccard index of a concept's neurons with those at"
        f" the last is {_value(before_last['jaccard_with_last'], number)}; with other concepts'"
        f" neurons at the last step it is {_value(before_last[FOREIGN], number)}.",
    ]
    return [sentence for sentence in sentences if sentence]


def caveats(numbers: Numbers) -> list[str]:
    """What can't be said."""
    timing = numbers["timing"][ALL][FIRST]
    without = numbers["n_without_last_neurons"]
    order = numbers["order"][FIRST]
    wide = max(b - a for a, b in zip(numbers["steps"], numbers["steps"][1:], strict=False))
    return [
        f"A step is where something is first seen: it happened since the measurement before, up to"
        f" {count(wide)} steps earlier. What differs by less is seen at the same step.",
        f"Left-censored (it holds at the first step already, so its true step is unknown and"
        f" earlier): {count(timing['probability']['n_left_censored'])} of"
        f" {count(timing['probability']['n'])} probabilities,"
        f" {count(timing['neurons']['n_left_censored'])} of {count(timing['neurons']['n'])} sets of"
        " neurons. They count at the first step in medians, and not in the test.",
        f"Half of the last value is reached by definition: of"
        f" {count(timing['neurons']['n_at_last'])} concepts' neurons (probabilities:"
        f" {count(timing['probability']['n_at_last'])}) it is seen at the last step alone, and all"
        " steps depend on where the training ended.",
        f"{count(without)} concepts have no neurons at the last step, and none to be dated."
        if without
        else "All concepts have neurons at the last step.",
        "Half of a probability and half of a set of neurons are two lines drawn by hand: what is"
        " there first says nothing of what brings about what.",
        f"Of {count(order['n'])} concepts with both, {count(order['n_dated'])} are in the test;"
        f" {count(order['n_one_left_censored'])} with one left-censored count as before or after"
        f" alone, {count(order['n_both_left_censored'])} with both not at all.",
    ]


def captions(numbers: Numbers) -> dict[str, Caption]:
    """The words of each figure, in the report's order."""
    n = count(numbers["n_concepts"])
    words = {
        "formation": Caption(
            f"A concept's probability and its neurons: {n} concepts",
            "Means over concepts with 95 % bootstrap intervals. The Jaccard index is 1 at the last"
            " step by definition; what it exceeds is that with other concepts' neurons.",
            f"Curves over training steps; means at the first and at the last: {_ends(numbers)}",
        ),
        "formation_order": Caption(
            "Which comes first: probability or neurons",
            "The line further to the left is earlier.",
            "Share of concepts whose probability has risen and whose neurons are there, by step",
        ),
        "formation_by_layer": Caption(
            f"Knowledge neurons by layer: {n} concepts",
            "Below: of a concept's neurons of that layer at the last step, the share that is there."
            " In brackets: concepts that have any; of fewer than"
            f" {MIN_N} nothing is shown below. Layers count from 0, the lowest is lightest.",
            "Curves of the number of neurons and the share of last neurons by layer",
        ),
        "formation_by_pos": Caption(
            "Probability and neurons: by part of speech",
            "Means over concepts with 95 % bootstrap intervals, and the number of concepts.",
            "Curves of probability and Jaccard index by part of speech",
        ),
    }
    if len(numbers["curves"]) < 2:
        del words["formation_by_pos"]
    return words


def _ends(numbers: Numbers) -> str:
    """What the curves of all concepts begin and end with."""
    curves = numbers["curves"][ALL]
    return ", ".join(
        f"{name} {number(curves[key][0]['mean'])} and {number(curves[key][-1]['mean'])}"
        for key, name in (("probability", "probability"), ("n_neurons", "neurons"))
    )


def listings(numbers: Numbers) -> list[Listing]:
    """When, by part of speech and by layer; and in which order."""
    rows = [
        (part, what, _KINDS[kind], *_timing(found[kind][what]))
        for part, found in numbers["timing"].items()
        for what in ("probability", "neurons")
        for kind in (FIRST, LASTING)
    ]
    layers = [
        (f"layer {layer['layer']}", _KINDS[kind], *_timing(layer["timing"][kind]))
        for layer in numbers["by_layer"]
        for kind in (FIRST, LASTING)
    ]
    heads = ("n", "left-censored", "at the last alone", "median step", "quartiles")
    orders = [
        (whole_percent(float(share)), _KINDS[kind], *_order_row(found[kind]))
        for share, found in numbers["order_by_share"].items()
        for kind in (FIRST, LASTING)
    ]
    return [
        Listing(
            "Step at which half of the last value is there",
            ("concepts", "what", "when", *heads),
            tuple(rows),
            3,
        ),
        Listing(
            "Step at which half of a concept's last neurons of a layer are there",
            ("neurons of", "when", *heads),
            tuple(layers),
            2,
        ),
        Listing(
            "Steps from the rise of probability to the neurons, paired",
            (
                "risen at",
                *("when", "dated", "before", "same step", "after", "mean", "median", "p", "effect"),
            ),
            tuple(orders),
            2,
            "Risen at: the share of its last value that a probability has to exceed; of the neurons"
            " it is half throughout. Before: the neurons are there before the probability has"
            " risen. Wilcoxon's signed-rank test; the effect is the rank-biserial correlation,"
            " below 0 where neurons come first.",
        ),
    ]


def order_sentence(by_share: Numbers) -> str:
    """Which comes first, and whether that depends on where a probability is said to have risen."""
    half = by_share[str(HALF)][FIRST]
    if half["test"] is None:
        return f"Too few concepts can be dated ({count(half['n_dated'])}) to test which is first."
    way = _way(half)
    verdict = (
        "whether a concept's neurons or its probability come first is open"
        if way is None
        else f"a concept's neurons are there {way} its probability has risen"
    )
    return (
        f"By half of both, {verdict}: neurons minus probability is {_difference(half)} steps on"
        f" average (n = {count(half['n_dated'])}, Wilcoxon p {p_value(half['test']['p'])}); before"
        f" in {count(half['n_neurons_before'])} concepts, at the same step in"
        f" {count(half['n_same_step'])}, after in {count(half['n_neurons_after'])}."
        f" {_by_other_shares(by_share, way)}"
    )


def _by_other_shares(by_share: Numbers, way: str | None) -> str:
    others = [(float(name), found[FIRST]) for name, found in by_share.items()]
    others = [(share, found) for share, found in others if share != HALF]
    said = ", ".join(
        f"{whole_percent(share)} of its last probability {_difference(found)}"
        for share, found in others
    )
    same = all(_way(found) == way for _, found in others)
    verdict = "so the order doesn't depend on that" if same else "so the order depends on that line"
    return f"By {said}: {verdict}."


def _difference(order: Numbers) -> str:
    return with_interval(_steps, order["mean_difference"], order["interval"])


def _way(order: Numbers) -> str | None:
    """Whether neurons come before or after; None where the interval has both."""
    limits = order["interval"]
    if limits is None or limits[0] * limits[1] <= 0:
        return None
    return "before" if limits[1] < 0 else "after"


def _order_row(order: Numbers) -> tuple[str, ...]:
    test = order["test"] or {"p": None, "effect_size": None}
    return (
        count(order["n_dated"]),
        count(order["n_neurons_before"]),
        count(order["n_same_step"]),
        count(order["n_neurons_after"]),
        with_interval(_steps, order["mean_difference"], order["interval"]),
        with_interval(_steps, order["median_difference"], order["median_interval"]),
        p_value(test["p"]),
        number(test["effect_size"]),
    )


def _timing(found: Numbers) -> tuple[str, ...]:
    return (
        count(found["n"]),
        count(found["n_left_censored"]),
        count(found["n_at_last"]),
        _median(found),
        f"{count(found['p25'])} to {count(found['p75'])}",
    )


def _median(found: Numbers) -> str:
    return with_interval(count, found["median"], found["interval"])


def _value(point: Numbers, write: Any) -> str:
    return with_interval(write, point["mean"], point["interval"])


def _steps(value: float | None) -> str:
    return count(value).replace("-", "\N{MINUS SIGN}")
