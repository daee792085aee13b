"""Tests in ``summary.json`` → sentences: own beside its controls, nouns beside other words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kn_lightning.report.comparisons import NOUN, REST
from kn_lightning.report.labels import (
    edit_title,
    effect,
    interval,
    kind_label,
    listed,
    test_label,
)
from kn_lightning.report.language import say
from kn_lightning.report.numerals import (
    GAP,
    count,
    number,
    p_value,
    percent,
    points,
    with_interval,
)

Summary = dict[str, Any]
Row = dict[str, Any]


def beside_controls(numbers: Summary, edit: str) -> list[str]:
    """Each control's median, put together by how own differs from it."""
    tests = {
        row["b"]: row
        for row in numbers["tests"]
        if row["family"] == "controls" and row["edit"] == edit
    }
    found: dict[str, list[str]] = {"beyond": [], "same": [], "reverse": [], "untested": []}
    tested: dict[str, list[Row]] = {side: [] for side in found}
    for kind, row in numbers["changes"][edit].items():
        if kind != "own" and row["n"]:
            side = _side(tests.get(kind), edit)
            found[side].append(f"{kind_label(kind, numbers)} {percent(row['median'])}")
            tested[side] += [tests[kind]] if kind in tests else []
    return [
        _compared(numbers, side, edit, listed(*controls), _statistics(tested[side], side != "same"))
        for side, controls in found.items()
        if controls
    ]


def _compared(numbers: Summary, side: str, edit: str, controls: str, tests: str) -> str:
    values = {"list": controls, "tests": tests}
    match side, edit:
        case "beyond", "suppress":
            return say(
                "Compared by concept, own prompts fall significantly further than these (median "
                "changes): {list} ({tests}).",
                **values,
            )
        case "beyond", _:
            return say(
                "Compared by concept, own prompts rise significantly further than these (median "
                "changes): {list} ({tests}).",
                **values,
            )
        case "same", _:
            return say(
                "No significant difference from own prompts (median changes): {list} ({tests}).",
                **values,
            )
        case "reverse", _:
            return say(
                "Significantly the other way round (median changes): {list} ({tests}).", **values
            )
    return say(
        "Median changes beside it, untested with fewer than {min_n} concepts: {list}.",
        min_n=count(numbers["test_settings"]["min_n"]),
        **values,
    )


def _side(test: Row | None, edit: str) -> str:
    """Whether own goes beyond a control in the direction that the edit should have."""
    if test is None:
        return "untested"
    if not test["significant"]:
        return "same"
    return "beyond" if test["effect_size"] * (-1 if edit == "suppress" else 1) > 0 else "reverse"


def _statistics(tests: list[Row], significant: bool) -> str:
    """The paired tests of several controls in one: their n, weakest p and effects, or ranges."""
    if not tests:
        return ""
    sizes = _range([test["n_a"] for test in tests], count)
    p_values = [test["p_adjusted"] for test in tests]
    effects = _range([test["effect_size"] for test in tests], number)
    if len(tests) == 1:
        p = p_equals(p_values[0])
    elif significant:
        p = p_equals(max(p_values), "≤")
    else:
        p = p_equals(min(p_values), "≥")
    return say(
        "{test}, {n}, {p}, {effect}",
        test=test_label("wilcoxon"),
        n=f"n{GAP}={GAP}{sizes}",
        p=p,
        effect=f"{say('rank-biserial r')}{GAP}={GAP}{effects}",
    )


def _range(values: list[float], write: Callable[[float | None], str]) -> str:
    low, high = write(min(values)), write(max(values))
    return low if low == high else interval(low, high)


def p_equals(value: float | None, sign: str = "=") -> str:
    """A p-value of ``comparisons.tests`` in a sentence: "adjusted p = 0.012"."""
    name, text = say("adjusted p"), p_value(value)
    return f"{name}{GAP}{text}" if text.startswith("<") else f"{name}{GAP}{sign}{GAP}{text}"


def pos_finding(numbers: Summary, edit: str) -> str:
    """Whether nouns differ from others: tests, effects, sample sizes, or why there is no test.

    Empty where no part of speech is known.
    """
    rows = [
        row
        for row in numbers["tests"]
        if row["family"] == "pos" and row["edit"] == edit and row["b"] == "/".join(REST)
    ]
    if not rows:
        return _pos_untested(numbers, edit)
    values = {
        "edit": edit_title(edit),
        "nouns": count(rows[0]["n_a"]),
        "others": count(rows[0]["n_b"]),
        "tests": listed(*map(_pos_test, rows)),
        "difference": with_interval(points, rows[0]["difference"], rows[0]["difference_ci"]),
    }
    significant = [row["significant"] for row in rows]
    if any(significant) and not all(significant):
        return say(
            "{edit}: one of two tests tells nouns (n = {nouns}) from verbs, adjectives and adverbs "
            "(n = {others}) on own prompts ({tests}). Median change of nouns minus that of the "
            "others: {difference} percentage points.",
            **values,
        )
    if all(significant):
        return say(
            "{edit}: nouns (n = {nouns}) differ significantly from verbs, adjectives and adverbs "
            "(n = {others}) on own prompts ({tests}). Median change of nouns minus that of the "
            "others: {difference} percentage points.",
            **values,
        )
    return say(
        "{edit}: no significant difference between nouns (n = {nouns}) and verbs, adjectives and "
        "adverbs (n = {others}) on own prompts ({tests}). Median change of nouns minus that of "
        "the others: {difference} percentage points.",
        **values,
    )


def _pos_test(row: Row) -> str:
    return say(
        "{test}: {p}, {effect}",
        test=test_label(row["test"]),
        p=p_equals(row["p_adjusted"]),
        effect=effect(row),
    )


def _pos_untested(numbers: Summary, edit: str) -> str:
    sizes = {row["pos"]: row["own_n"].get(edit, 0) for row in numbers["by_pos"]}
    if not sum(sizes.values()):
        return ""
    return say(
        "Nouns were not compared with verbs, adjectives and adverbs: n = {nouns} and {others}, at "
        "least {min_n} of each are needed.",
        nouns=count(sizes.get(NOUN, 0)),
        others=count(sum(sizes.get(part, 0) for part in REST)),
        min_n=count(numbers["test_settings"]["min_n"]),
    )
