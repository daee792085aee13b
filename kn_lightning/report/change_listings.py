"""Changes in ``summary.json`` → tables: by edit and kind, beside controls, by factor, tests."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.labels import (
    edit_label,
    effect,
    interval,
    kind_label,
    main_edits,
    pos_label,
    test_label,
    times,
)
from kn_lightning.report.language import say
from kn_lightning.report.listing import Listing
from kn_lightning.report.numerals import (
    MINUS,
    count,
    number,
    p_value,
    percent,
    points,
    share,
    signed,
    with_interval,
)

Summary = dict[str, Any]
Row = dict[str, Any]


def _rows(numbers: Summary) -> list[tuple[str, str, Row]]:
    """Edit and kind in words, and the numbers of both."""
    return [
        (edit_label(edit), kind_label(kind, numbers), row)
        for edit in main_edits(numbers)
        for kind, row in numbers["changes"][edit].items()
    ]


def changes(numbers: Summary) -> Listing:
    """The main numbers of every edit and kind."""
    rows = tuple(
        (
            edit,
            kind,
            count(row["n"]),
            with_interval(percent, row["median"], row["median_ci"]),
            interval(percent(row["p25"]), percent(row["p75"])),
            share(row["falls"]),
            share(row["rises"]),
            share(row["argmax_changed"]),
        )
        for edit, kind, row in _rows(numbers)
    )
    return Listing(
        say("Relative change of the answer's probability"),
        (
            say("Edit"),
            say("Measured on"),
            say("Concepts"),
            say("Median [95 % interval]"),
            say("Middle half"),
            say("Falls"),
            say("Rises"),
            say("First guess changed"),
        ),
        rows,
        n_words=2,
        note=say(
            "A concept's relative change is (mean probability after − mean before) / mean before "
            "over its prompts; the columns summarise concepts. “Falls” and “Rises” are shares of "
            "concepts, “First guess changed” a share of prompts. Random neurons: as many as the "
            "concept has, in the same layers, averaged over the draws. Intervals: bootstrap over "
            "concepts."
        ),
    )


def spread(numbers: Summary) -> Listing:
    """Means, tails and log-odds of every edit and kind."""
    rows = tuple(
        (
            edit,
            kind,
            with_interval(percent, row["mean"], row["mean_ci"]),
            interval(percent(row["p05"]), percent(row["p95"])),
            signed(row["log_odds"]),
        )
        for edit, kind, row in _rows(numbers)
    )
    heads = (say("Edit"), say("Measured on"), say("Mean [95 % interval]"), say("5 % to 95 %"))
    return Listing(
        say("Means, tails and log-odds of the changes"),
        (*heads, say("Log-odds")),
        rows,
        n_words=2,
        note=say("“Log-odds” is the mean change of ln(P / (1 − P))."),
        folded=True,
    )


def controls(numbers: Summary) -> Listing:
    """Own beside each control: medians, and the paired test."""
    tests = {
        (row["edit"], row["b"]): row for row in numbers["tests"] if row["family"] == "controls"
    }
    rows = [
        (
            edit_label(row["edit"]),
            kind_label(row["control"], numbers),
            count(row["n_pairs"]),
            percent(row["control_median"]),
            share(row["ratio"]),
            share(row["own_moves_more"]),
            *_tested(test := tests.get((row["edit"], row["control"]))),
            number(test and test["effect_size"]),
        )
        for row in numbers["controls"]
        if row["edit"] in main_edits(numbers)
    ]
    heads = (
        say("Edit"),
        say("Control"),
        say("Concepts"),
        say("Control median"),
        say("Control / own"),
        say("Own moves farther"),
    )
    return Listing(
        say("Own prompts against each control"),
        (*heads, say("Own {minus} control", minus=MINUS), say("Adjusted p"), "r"),
        tuple(rows),
        n_words=2,
        note=say(
            "“Control / own” is the ratio of the medians over the concepts that have both values; "
            "“Own moves farther” compares the size of both changes concept by concept. “Own "
            "{minus} control” is the median of the differences by concept in percentage points "
            "[95 % bootstrap interval], tested by Wilcoxon's signed-rank test (two-sided). "
            "{adjusted} The rank-biserial r runs from {minus}1 (own always lower) to 1 (always "
            "higher).",
            minus=MINUS,
            adjusted=_adjusted(numbers),
        ),
    )


def _adjusted(numbers: Summary) -> str:
    return say(
        "p is adjusted after Benjamini and Hochberg over all tests of its kind; below {alpha} a "
        "difference is called significant.",
        alpha=f"{numbers['test_settings']['alpha']:g}",
    )


def _tested(row: Row | None) -> tuple[str, str]:
    """Difference and adjusted p; dashes without a test."""
    if row is None:
        return points(None), p_value(None)
    return (
        with_interval(points, row["difference"], row["difference_ci"]),
        p_value(row["p_adjusted"]),
    )


def pos_tests(numbers: Summary) -> Listing:
    """Nouns against other parts of speech."""
    rows = tuple(
        (
            edit_label(row["edit"]),
            f"{pos_label(row['a'])} / {pos_label(row['b'])}",
            test_label(row["test"]),
            f"{count(row['n_a'])} / {count(row['n_b'])}",
            *_tested(row),
            effect(row),
        )
        for row in numbers["tests"]
        if row["family"] == "pos" and row["edit"] in main_edits(numbers)
    )
    heads = (say("Edit"), say("Parts of speech"), say("Test"), say("Concepts"))
    return Listing(
        say("Nouns against others: tests of the own changes"),
        (*heads, say("Difference of medians"), say("Adjusted p"), say("Effect")),
        rows,
        n_words=3,
        note=say(
            "The first part of speech against the second, two-sided; the difference in percentage "
            "points [95 % bootstrap interval]. {adjusted} r runs from {minus}1 (the first always "
            "lower) to 1 (always higher), D from 0 (the same distribution) to 1.",
            minus=MINUS,
            adjusted=_adjusted(numbers),
        ),
    )


def doses(numbers: Summary) -> Listing:
    """Median change by factor."""
    rows = tuple(
        (
            kind_label(kind, numbers),
            times(f"{point['factor']:g}"),
            count(point["n"]),
            with_interval(percent, point["median"], point["median_ci"]),
            interval(percent(point["p25"]), percent(point["p75"])),
        )
        for kind, curve in numbers["doses"].items()
        for point in curve
        if point["factor"] != 1
    )
    heads = (say("Measured on"), say("Factor"), say("Concepts"), say("Median [95 % interval]"))
    return Listing(
        say("Relative change by factor"), (*heads, say("Middle half")), rows, folded=True
    )
