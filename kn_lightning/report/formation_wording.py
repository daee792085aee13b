"""Numbers of a formation study → its sentences and captions."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.caption import Caption
from kn_lightning.report.formation import ALL
from kn_lightning.report.formation_likeness import FOREIGN, LIKENESS
from kn_lightning.report.formation_timing import FIRST, HALF
from kn_lightning.report.labels import concepts, prompts
from kn_lightning.report.numerals import (
    GAP,
    count,
    number,
    p_value,
    probability,
    share,
    whole_percent,
    with_interval,
)
from kn_lightning.report.statistics import MIN_N

Numbers = dict[str, Any]

_KNOWN = 0.25
"""Share of first guesses that are right below which a training has taught little."""
_NAMED = 10
"""Concepts that were left out and are named."""


def findings(numbers: Numbers) -> list[str]:
    """What the report begins with."""
    steps = numbers["steps"]
    found = numbers["curves"][ALL]
    first, last = ({name: points[place] for name, points in found.items()} for place in (0, -1))
    timing = numbers["timing"][ALL][FIRST]
    before_last = {name: points[-2] for name, points in found.items()}
    sentences = [
        f"{concepts(numbers['n_concepts'])} at {len(steps)} steps, {count(steps[0])} to"
        f" {count(steps[-1])}: their mean probability goes from"
        f" {mean_value(first['probability'], probability)} to"
        f" {mean_value(last['probability'], probability)}"
        f" and their knowledge neurons from {mean_value(first['n_neurons'], number)} to"
        f" {mean_value(last['n_neurons'], number)} a concept.",
        f"The median concept's probability exceeds half of its last value at step"
        f" {median_step(timing['probability'], steps[0])}; half of its last neurons are there at"
        f" step {median_step(timing['neurons'], steps[0])}.",
        order_sentence(numbers["order_by_share"]),
        f"One measurement before the last, the Jaccard index of a concept's neurons with those at"
        f" the last is {mean_value(before_last[LIKENESS], number)}; with other concepts'"
        f" neurons at the last step it is {mean_value(before_last[FOREIGN], number)}.",
    ]
    return [sentence for sentence in sentences if sentence]


def caveats(numbers: Numbers) -> list[str]:
    """What can't be said."""
    timing = numbers["timing"][ALL][FIRST]
    without = numbers["n_without_last_neurons"]
    vanished = numbers["n_without_last_probability"]
    order = numbers["order"][FIRST]
    wide = max(b - a for a, b in zip(numbers["steps"], numbers["steps"][1:], strict=False))
    undated = f"{concepts(vanished)} without a probability above 0 at the last step: no rise."
    return [
        *_not_covered(numbers),
        *([undated] if vanished else []),
        f"A step is where something is first seen: it happened since the measurement before, up to"
        f" {count(wide)} steps earlier. What differs by less is seen at the same step.",
        f"Left-censored (it holds at the first step already, so its true step is unknown and"
        f" earlier): {count(timing['probability']['n_left_censored'])} of"
        f" {count(timing['probability']['n'])} probabilities,"
        f" {count(timing['neurons']['n_left_censored'])} of {count(timing['neurons']['n'])} sets of"
        " neurons. They count at the first step in medians (≤ where one falls there), and not in"
        " the test.",
        f"Half of the last value is reached by definition: of"
        f" {count(timing['neurons']['n_at_last'])} concepts' neurons (probabilities:"
        f" {count(timing['probability']['n_at_last'])}) it is seen at the last step alone, and all"
        " steps depend on where the training ended.",
        f"{concepts(without)} without neurons at the last step: none to be dated."
        if without
        else "All concepts have neurons at the last step.",
        "Half of a probability and half of a set of neurons are two lines drawn by hand: what is"
        " there first says nothing of what brings about what.",
        f"Of {concepts(order['n'])} with both, {count(order['n_dated'])} are in the test;"
        f" {count(order['n_one_left_censored'])} with one left-censored count as before or after"
        f" alone, {count(order['n_both_left_censored'])} with both not at all.",
    ]


def _not_covered(numbers: Numbers) -> list[str]:
    """What is not known at the end, and what was not asked."""
    first = numbers["curves"][ALL]["first"][-1]["mean"]
    unknown = (
        f"At the last step the model's first guess is right for {share(first)} of the prompts only"
        " (mean over concepts): most of what its neurons were looked for has not been learned."
    )
    whole, n_prompts = numbers["left_out"]["concepts"], numbers["left_out"]["n_prompts"]
    names = ", ".join([*whole[:_NAMED], *(["…"] * (len(whole) > _NAMED))])
    left_out = (
        f"Left out, each with its reason in skipped.parquet: {concepts(len(whole))}"
        f"{f' ({names})' if whole else ''}, and of others {prompts(n_prompts)}."
    )
    return [
        *([unknown] if first is not None and first < _KNOWN else []),
        *([left_out] if whole or n_prompts else []),
    ]


def captions(numbers: Numbers) -> dict[str, Caption]:
    """The words of each figure, in the report's order."""
    n = concepts(numbers["n_concepts"])
    words = {
        "formation": Caption(
            f"A concept's probability and its neurons: {n}",
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
            f"Knowledge neurons by layer: {n}",
            "In the middle: of a concept's neurons of that layer at the last step, the share that"
            " is there; below: the Jaccard index with them, which falls with each other neuron,"
            f" too. In brackets: concepts that have any; of fewer than {MIN_N} the upper curve"
            " alone is shown. Layers count from 0, the lowest is faintest.",
            "Curves of the number of neurons, the share of last neurons and the Jaccard index with"
            " the last neurons by layer",
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
        f"{name} {write(curves[key][0]['mean'])} and {write(curves[key][-1]['mean'])}"
        for key, name, write in (
            ("probability", "probability", probability),
            ("n_neurons", "neurons", number),
        )
    )


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
        f"By half of both, {verdict}: neurons minus probability is {mean_steps(half)} steps on"
        f" average (n = {count(half['n_dated'])}, Wilcoxon p {p_value(half['test']['p'])}); before"
        f" in {count(half['n_neurons_before'])} concepts, at the same step in"
        f" {count(half['n_same_step'])}, after in {count(half['n_neurons_after'])}."
        f" {_by_other_shares(by_share, way)}"
    )


def _by_other_shares(by_share: Numbers, way: str | None) -> str:
    others = [(float(name), found[FIRST]) for name, found in by_share.items()]
    others = [(line, found) for line, found in others if line != HALF]
    said = ", ".join(
        f"{whole_percent(line)} of its last probability {mean_steps(found)}"
        for line, found in others
    )
    same = all(_way(found) == way for _, found in others)
    verdict = "so the order doesn't depend on that" if same else "so the order depends on that line"
    return f"By {said}: {verdict}."


def mean_steps(order: Numbers) -> str:
    """Steps from the rise of probability to the neurons, and their interval."""
    return with_interval(signed_steps, order["mean_difference"], order["interval"])


def _way(order: Numbers) -> str | None:
    """Whether neurons come before or after; None where the interval has both."""
    limits = order["interval"]
    if limits is None or limits[0] * limits[1] <= 0:
        return None
    return "before" if limits[1] < 0 else "after"


def median_step(found: Numbers, first: int) -> str:
    """The median step of a timing, and its interval; at the ``first`` one it is left-censored."""

    def step(value: float | None) -> str:
        return f"≤{GAP}{count(value)}" if value == first else count(value)

    return with_interval(step, found["median"], found["interval"])


def mean_value(point: Numbers, write: Any) -> str:
    """A mean of a curve and its interval."""
    return with_interval(write, point["mean"], point["interval"])


def signed_steps(value: float | None) -> str:
    """Steps, with a minus sign where they are negative."""
    return count(value).replace("-", "\N{MINUS SIGN}")
