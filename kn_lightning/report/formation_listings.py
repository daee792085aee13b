"""Numbers of a formation study → its tables."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.formation import ALL, CURVES, FOREIGN
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
_WRITTEN = {
    "probability": probability,
    "first": share,
    "n_neurons": number,
    "jaccard_with_previous": number,
    "jaccard_with_last": number,
    FOREIGN: number,
}


def listings(numbers: Numbers) -> list[Listing]:
    """The curves by step; when, by part of speech and by layer; and in which order."""
    return [*_curves(numbers), *_timings(numbers), _orders(numbers)]


def _curves(numbers: Numbers) -> list[Listing]:
    """What the figures draw, as numbers."""
    curves = numbers["curves"]
    steps = [count(step) for step in numbers["steps"]]

    def means(points: list[Numbers], write: Any) -> list[str]:
        return [write(point["mean"]) for point in points]

    found = [means(curves[ALL][name], _WRITTEN[name]) for name in (*CURVES, FOREIGN)]
    parts = [part for part in curves if part != ALL]
    by_part = [means(curves[part]["probability"], probability) for part in parts]
    by_part += [means(curves[part]["jaccard_with_last"], number) for part in parts]
    by_layer = [means(layer["n_neurons"], number) for layer in numbers["by_layer"]]
    heads = ("probability", "first places", "neurons", "J. step before", "J. last", "J. others'")
    layers = [f"layer {layer['layer']}" for layer in numbers["by_layer"]]
    note = "Means over concepts; their intervals are in the figures and in summary.json."
    listings = [
        Listing(
            "Probability and knowledge neurons by step",
            ("step", *heads),
            tuple(zip(steps, *found, strict=True)),
            0,
            f"{note} J.: Jaccard index of a concept's neurons with those one measurement before,"
            " with those at the last step, and with other concepts' at the last step.",
        ),
        Listing(
            "Knowledge neurons of a concept by step and layer",
            ("step", *layers),
            tuple(zip(steps, *by_layer, strict=True)),
            0,
            note,
        ),
    ]
    if parts:
        of_parts = tuple(f"{what}, {part}" for what in ("P", "J.") for part in parts)
        rows = tuple(zip(steps, *by_part, strict=True))
        title = "Probability (P) and likeness to the last neurons (J.) by step and part of speech"
        listings.append(Listing(title, ("step", *of_parts), rows, 0, note))
    return listings


def _timings(numbers: Numbers) -> list[Listing]:
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


def _timing(found: Numbers) -> tuple[str, ...]:
    return (
        count(found["n"]),
        count(found["n_left_censored"]),
        count(found["n_at_last"]),
        median_step(found),
        f"{count(found['p25'])} to {count(found['p75'])}",
    )
