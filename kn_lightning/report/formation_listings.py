"""Numbers of a formation study → its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kn_lightning.report.formation import ALL
from kn_lightning.report.formation_likeness import FOREIGN, LIKENESS
from kn_lightning.report.formation_timing import FIRST, LASTING
from kn_lightning.report.formation_wording import mean_steps, median_step, signed_steps
from kn_lightning.report.listing import Listing
from kn_lightning.report.numerals import (
    count,
    number,
    p_value,
    probability,
    share,
    whole_percent,
    with_interval,
)

Numbers = dict[str, Any]

_KINDS = {FIRST: "for the first time", LASTING: "from then on"}
_CURVES: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "probability": ("probability", probability),
    "first": ("first places", share),
    "n_neurons": ("neurons", number),
    "jaccard_with_previous": ("J. step before", number),
    LIKENESS: ("J. last", number),
    FOREIGN: ("J. others'", number),
}
_THERE = "Of concepts that have neurons of that layer at the last step, n at most."
_MEANS = "Means over concepts; their intervals are in the figures and in summary.json."


def listings(numbers: Numbers) -> list[Listing]:
    """The curves by step; when, by part of speech and by layer; and in which order."""
    return [*_curves(numbers), *_timings(numbers), _orders(numbers)]


def _curves(numbers: Numbers) -> list[Listing]:
    """What the figures draw, as numbers."""
    curves, layers = numbers["curves"], numbers["by_layer"]
    parts = [part for part in curves if part != ALL]
    steps = numbers["steps"]
    titled: list[tuple[str, dict[str, list[str]], str]] = [
        (
            "Probability and knowledge neurons",
            {head: _means(curves[ALL][name], write) for name, (head, write) in _CURVES.items()},
            f"{_MEANS} J.: Jaccard index of a concept's neurons with those one measurement before,"
            " with those at the last step, and with other concepts' at the last step.",
        ),
        (
            "Concepts that have had half of the last value",
            {
                what: [share(part) for part in found["up_to"] or [None] * len(steps)]
                for what, found in numbers["timing"][ALL][FIRST].items()
            },
            "",
        ),
        (
            "Knowledge neurons of a concept, by layer",
            dict(_by_layer(layers, "n_neurons", number)),
            _MEANS,
        ),
        (
            "Of a concept's neurons at the last step, those that are there, by layer",
            dict(_by_layer(layers, "last_ones_present", share)),
            f"{_MEANS} {_THERE}",
        ),
        (
            "Jaccard index with the neurons at the last step, by layer",
            dict(_by_layer(layers, LIKENESS, number)),
            f"{_MEANS} {_THERE}",
        ),
        (
            "Jaccard index with other concepts' neurons at the last step, by layer",
            dict(_by_layer(layers, FOREIGN, number)),
            f"{_MEANS} {_THERE} What that with a concept's own exceeds.",
        ),
        (
            "Probability, by part of speech",
            {part: _means(curves[part]["probability"], probability) for part in parts},
            _MEANS,
        ),
        (
            "Jaccard index with the neurons at the last step, by part of speech",
            {part: _means(curves[part][LIKENESS], number) for part in parts},
            _MEANS,
        ),
    ]
    return [
        Listing(
            title,
            ("step", *columns),
            tuple(zip(map(count, steps), *columns.values(), strict=True)),
            note=note,
        )
        for title, columns, note in titled
        if columns
    ]


def _means(points: list[Numbers], write: Callable[[float | None], str]) -> list[str]:
    return [write(point["mean"]) for point in points]


def _by_layer(
    layers: list[Numbers], name: str, write: Callable[[float | None], str]
) -> Iterator[tuple[str, list[str]]]:
    """Heads, with the largest number of concepts that a mean of the column is of, and columns."""
    for layer in layers:
        most = max(point["n"] for point in layer[name])
        yield f"{_layer(layer)} (n = {count(most)})", _means(layer[name], write)


def _layer(layer: Numbers) -> str:
    return f"layer {layer['layer']}"


def _timings(numbers: Numbers) -> list[Listing]:
    first = numbers["steps"][0]
    rows = [
        (part, what, _KINDS[kind], *_timing(found[kind][what], first))
        for part, found in numbers["timing"].items()
        for what in ("probability", "neurons")
        for kind in (FIRST, LASTING)
    ]
    layers = [
        (_layer(layer), _KINDS[kind], *_timing(layer["timing"][kind], first))
        for layer in numbers["by_layer"]
        for kind in (FIRST, LASTING)
    ]
    heads = ("n", "left-censored", "at the last alone", "median step", "quartiles")
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
    ]


def _orders(numbers: Numbers) -> Listing:
    rows = [
        (whole_percent(float(level)), _KINDS[kind], *_order_row(found[kind]))
        for level, found in numbers["order_by_share"].items()
        for kind in (FIRST, LASTING)
    ]
    return Listing(
        "Steps from the rise of probability to the neurons, paired",
        (
            "risen at",
            *("when", "dated", "before", "same step", "after", "mean", "median", "p", "effect"),
        ),
        tuple(rows),
        2,
        "Risen at: the share of its last value that a probability has to exceed; of the neurons"
        " it is half throughout. Before: the neurons are there before the probability has"
        " risen. Wilcoxon's signed-rank test; the effect is the rank-biserial correlation,"
        " below 0 where neurons come first.",
    )


def _order_row(order: Numbers) -> tuple[str, ...]:
    test = order["test"] or {"p": None, "effect_size": None}
    return (
        count(order["n_dated"]),
        count(order["n_neurons_before"]),
        count(order["n_same_step"]),
        count(order["n_neurons_after"]),
        mean_steps(order),
        with_interval(signed_steps, order["median_difference"], order["median_interval"]),
        p_value(test["p"]),
        number(test["effect_size"]),
    )


def _timing(found: Numbers, first: int) -> tuple[str, ...]:
    return (
        count(found["n"]),
        count(found["n_left_censored"]),
        count(found["n_at_last"]),
        median_step(found, first),
        f"{count(found['p25'])} to {count(found['p75'])}",
    )
