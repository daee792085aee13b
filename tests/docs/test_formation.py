"""The numbers of docs/formation.md are those that the benchmark keeps, rounded as it has them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from .said import Row, assert_said, claimed, page, stored, table, where

PAGE = page("formation.md")
FIRST = {
    "probability": "probability",
    "J., last": "jaccard_with_last",
    "J., others'": "jaccard_of_others",
    "neurons": "n_neurons",
    **{f"layer {layer}": f"layer_{layer}_n_neurons" for layer in range(4)},
    **{f"P, {part}": f"{part}_probability" for part in ("noun", "verb", "adjective", "adverb")},
}
SECOND = {
    **{f"layer {layer}": f"layer_{layer}" for layer in (1, 2, 3)},
    **{f"layer {layer}, others'": f"layer_{layer}_others" for layer in (2, 3)},
    **{part: part for part in ("noun", "verb", "adjective", "adverb")},
}
"""Heads of the tables behind the step, and the columns that are kept."""
STEPS = r"(\S+ steps \[[^]]*\]) (\w+)"
WITH_INTERVAL = r"(\S+ \[[^]]*\])"


def rows(cell: str) -> list[Row]:
    found: list[Row] = stored("formation")[f"testbed: {cell}"]["rows"]
    return found


def order(share: str, how: str, training: str = "testbed") -> Row:
    """How much later neurons are there than such a share of the last probability."""
    found = stored("formation")[f"{training}: order"]["rows"]
    return where(found, probability_above=f"{share} of its last", neurons_are_there=how)


def assert_order(said: str, row: Row) -> None:
    """The steps with their interval, before or after."""
    # Below 0 neurons come before the probability.
    sign = 1 if "after" in said.split() else -1
    assert sign == 1 or "before" in said.split()
    steps, *ends = (sign * row[key] for key in ("steps_after", "from", "to"))
    assert_said(said, [steps, *sorted(ends)])


def at(step: int) -> Row:
    """All means of a step."""
    kept = [
        where(rows(cell), step=step)
        for cell in ("by step", "likeness by layer", "likeness by part of speech")
    ]
    return kept[0] | kept[1] | kept[2]


def triple(row: Row, key: str) -> list[float]:
    """A value with its interval."""
    return [row[key], row[f"{key}_from"], row[f"{key}_to"]]


def date(of: str, how: str = "first") -> Row:
    """Median steps."""
    return where(rows("dates"), of=of, how=how)


@pytest.mark.parametrize("columns", [FIRST, SECOND], ids=["first", "second"])
def test_a_table_by_step(columns: dict[str, str]) -> None:
    body = table(PAGE, "step", *columns)
    assert len(body) > 8
    for step, *said in body:
        row = at(int(step.replace(",", "")))
        for column, text in zip(columns.values(), said, strict=True):
            decimals = len(text.partition(".")[2])
            assert text == f"{row[column]:.{decimals}f}", (step, column)


@pytest.mark.parametrize(
    ("share", "how", "claim"),
    [
        ("0.1", "first", rf"for the first time {STEPS} its probability passes a tenth"),
        ("0.25", "first", r"told apart: (\S+ steps) (before) it (\[[^]]*\]) \(W"),
        ("0.5", "first", rf"value, and {STEPS} it passes half of it"),
        ("0.1", "lasting", rf"they stay {STEPS} the tenth has"),
        ("0.25", "lasting", rf"the tenth has, {STEPS} the quarter"),
        ("0.5", "lasting", rf"the quarter, and {STEPS} the half\."),
    ],
)
def test_the_finding(share: str, how: str, claim: str) -> None:
    assert_order(claimed(PAGE, claim), order(share, how))


@pytest.mark.parametrize(
    ("share", "claim"),
    [
        ("0.1", rf"other steps \({WITH_INTERVAL} (after) the one"),
        ("0.25", rf"at the quarter doesn't: {WITH_INTERVAL} (before) it"),
        ("0.5", rf"the one, {WITH_INTERVAL} (before) the other"),
    ],
)
def test_the_finding_in_another_training(share: str, claim: str) -> None:
    another = order(share, "first", "testbed, on another machine")
    assert_order(claimed(PAGE, claim), another)
    ours = order(share, "first")
    assert ours["from"] > another["to"] or ours["to"] < another["from"]
    assert ours["steps_after"] * another["steps_after"] > 0


def few() -> list[float]:
    """The step from which on there are few neurons, and how many there are at the last."""
    found = rows("by step")
    others = [row["step"] for row in found if not 8 < row["n_neurons"] < 14]
    since = min(row["step"] for row in found if row["step"] > max(others))
    return [since, *triple(at(1372), "n_neurons")]


def risen() -> list[float]:
    """When the probability has risen, and how much earlier the neurons were there."""
    parts = [date(part) for part in ("noun", "verb", "adjective", "adverb")]
    medians = [part["probability"] for part in parts]
    assert medians[3] == medians[1]
    earlier = [part["probability"] - part["neurons"] for part in parts]
    return [*triple(date("all"), "probability"), *medians[:3], min(earlier), max(earlier)]


def concepts_of_layers() -> list[float]:
    return [date(f"layer {layer}")["concepts"] for layer in (1, 2, 3, 0)]


def likeness(step: int, *of: str) -> Callable[[], list[float]]:
    return lambda: [value for one in of for value in triple(at(step), one)]


@pytest.mark.parametrize(
    ("claim", "values"),
    [
        (
            r"All (\d+) concepts, measured at (\d+) of (\S+) steps while",
            lambda: [date("all")["concepts"], len(rows("by step")), rows("by step")[-1]["step"]],
        ),
        (
            r"last step: (\d+) of layer 1, (\d+) of layer 2, (\d+) of layer 3, "
            r"but (\w+) of layer 0",
            concepts_of_layers,
        ),
        (
            rf"of the answers rises from (\S+) to {WITH_INTERVAL};",
            lambda: [at(0)["probability"], *triple(at(1372), "probability")],
        ),
        (
            rf"last value at step {WITH_INTERVAL}: nouns at (\S+), verbs and adverbs at (\S+), "
            r"adjectives at (\S+), their neurons (\d+) to (\d+) steps earlier",
            risen,
        ),
        (r"At first a concept has (\d+) \"knowledge", lambda: [at(0)["n_neurons"]]),
        (rf"From step (\d+) on there are eight to fourteen, {WITH_INTERVAL} at the end", few),
        (
            rf"of layer 2 are there from then on at step {WITH_INTERVAL}, "
            rf"of the last layer at {WITH_INTERVAL}\.",
            lambda: [
                value
                for layer in (2, 3)
                for value in triple(date(f"layer {layer}", "lasting"), "neurons")
            ],
        ),
        (
            r"For the first time they are at (\d+) and (\d+): those of layer 2 ",
            lambda: [date(f"layer {layer}")["neurons"] for layer in (2, 3)],
        ),
        (
            r"Wilcoxon's test over (\d+) concepts, p",
            lambda: [order("0.25", "first")["concepts"]],
        ),
        (r"concepts, p = ([\d.]+);", lambda: [order("0.25", "first")["p"]]),
        (
            r"p (< \S+) for the tenth and the half",
            lambda: [max(order(share, "first")["p"] for share in ("0.1", "0.5"))],
        ),
        (
            r"the difference for (10, 25 and 50 %)",
            lambda: [
                100 * float(row["probability_above"].split()[0])
                for row in rows("order")
                if row["neurons_are_there"] == "first"
            ],
        ),
        (r"to the end \((\S+) at step 1,000\)", lambda: [at(1000)["jaccard_with_last"]]),
        (
            r"last neurons never exceeds (\S+)\.",
            lambda: [max(row["jaccard_of_others"] for row in rows("by step"))],
        ),
        (
            rf"at step 1,000 it is {WITH_INTERVAL} in layer 2 and {WITH_INTERVAL} in layer 3",
            likeness(1000, "layer_2", "layer_3"),
        ),
        (
            rf"in layer 3, at 1,200 it is {WITH_INTERVAL} and {WITH_INTERVAL}\.",
            likeness(1200, "layer_2", "layer_3"),
        ),
        (
            rf"at step 1,000 it is {WITH_INTERVAL} for adverbs and {WITH_INTERVAL} for adjectives",
            likeness(1000, "adverb", "adjective"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_number_of_the_text(claim: str, values: Callable[[], list[float]]) -> None:
    assert_said(claimed(PAGE, claim), values())


def test_what_the_text_says_of_them() -> None:
    """Which parts of speech are furthest apart, where neurons are, and how the signs stand."""
    parts = {part: at(1000)[part] for part in ("noun", "verb", "adjective", "adverb")}
    assert (min(parts, key=parts.__getitem__), max(parts, key=parts.__getitem__)) == (
        "adverb",
        "adjective",
    )
    likeness = [row["jaccard_with_last"] for row in rows("by step")]
    assert all(before < after for before, after in pairwise(likeness))
    assert at(1372)["layer_3_n_neurons"] > at(1372)["n_neurons"] / 2
    signs = [row["steps_after"] > 0 for row in rows("order")]
    assert signs == [True, True, False, True, False, False]
