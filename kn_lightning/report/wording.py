"""``summary.json`` → what was found, in sentences.

Every number in a sentence comes from the summary; both templates print the same sentences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kn_lightning.report.comparisons import REST
from kn_lightning.report.labels import (
    concepts,
    edit_title,
    effect,
    interval,
    kind_label,
    prompts,
    test_label,
)
from kn_lightning.report.language import plural, say, sentences
from kn_lightning.report.numerals import (
    GAP,
    count,
    number,
    p_value,
    percent,
    points,
    share,
    with_interval,
)

Summary = dict[str, Any]
Row = dict[str, Any]


def findings(numbers: Summary) -> list[str]:
    """The headline: what was found, in sentences with numbers, one paragraph each."""
    paragraphs = []
    for edit in ("suppress", "amplify"):
        if own := own_change(numbers, edit):
            paragraphs.append(_effect(numbers, edit, own))
    paragraphs += [pos_finding(numbers, edit) for edit in ("suppress", "amplify")]
    paragraphs += [_consistency(numbers), _extent(numbers)]
    return [paragraph for paragraph in paragraphs if paragraph]


def own_change(numbers: Summary, edit: str) -> Row | None:
    """The changes of an edit on own prompts, where there are any."""
    own = numbers["changes"].get(edit, {}).get("own")
    return own if own and own["n"] else None


def _effect(numbers: Summary, edit: str, own: Row) -> str:
    values = {
        "concepts": concepts(own["n"]),
        "median": with_interval(percent, own["median"], own["median_ci"]),
        "half": interval(percent(own["p25"]), percent(own["p75"])),
        "guesses": share(own["argmax_changed"]),
    }
    if edit == "suppress":
        text = say(
            "Suppressing a concept's knowledge neurons lowers the probability of its own answer "
            "for {share} of {concepts} (median change {median}, middle half {half}), and changes "
            "the first guess on {guesses} of the prompts.",
            share=share(own["falls"]),
            **values,
        )
    else:
        text = say(
            "Amplifying a concept's knowledge neurons raises the probability of its own answer "
            "for {share} of {concepts} (median change {median}, middle half {half}), and changes "
            "the first guess on {guesses} of the prompts.",
            share=share(own["rises"]),
            **values,
        )
    return sentences(text, *_beside(numbers, edit))


def _beside(numbers: Summary, edit: str) -> list[str]:
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
        _compared(side, edit, "; ".join(controls), _statistics(tested[side], side != "same"))
        for side, controls in found.items()
        if controls
    ]


def _compared(side: str, edit: str, controls: str, tests: str) -> str:
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
    return say("Median changes beside it, untested: {list}.", **values)


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
    name, label = test_label("wilcoxon"), say("rank-biserial r")
    return f"{name}, n{GAP}={GAP}{sizes}, {p}, {label}{GAP}={GAP}{effects}"


def _range(values: list[float], write: Callable[[float | None], str]) -> str:
    low, high = write(min(values)), write(max(values))
    return low if low == high else interval(low, high)


def p_equals(value: float | None, sign: str = "=") -> str:
    """A p-value in a sentence: "p = 0.012", "p < 0.001"."""
    text = p_value(value)
    return f"p{GAP}{text}" if text.startswith("<") else f"p{GAP}{sign}{GAP}{text}"


def pos_finding(numbers: Summary, edit: str) -> str:
    """Whether nouns differ from others: tests, effects, sample sizes; empty without tests."""
    rows = [
        row
        for row in numbers["tests"]
        if row["family"] == "pos" and row["edit"] == edit and row["b"] == "/".join(REST)
    ]
    if not rows:
        return ""
    values = {
        "edit": edit_title(edit),
        "nouns": count(rows[0]["n_a"]),
        "others": count(rows[0]["n_b"]),
        "tests": "; ".join(
            f"{test_label(row['test'])}: {p_equals(row['p_adjusted'])}, {effect(row)}"
            for row in rows
        ),
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


def _consistency(numbers: Summary) -> str:
    found = numbers["consistency"]
    if not found or not found["n"]:
        return ""
    return say(
        "Two wordings of one concept share {mean} of their coarse neurons on average (Jaccard "
        "index, {concepts}), prompts of two concepts {between}.",
        mean=with_interval(number, found["mean"], found["mean_ci"]),
        concepts=concepts(found["n"]),
        between=number(found["random_expectation"]),
    )


def _extent(numbers: Summary) -> str:
    counts, neurons = numbers["counts"], numbers["neurons"]
    text = say(
        "The study covers {concepts} with {prompts}. The model's first guess is right for {share} "
        "of the prompts.",
        concepts=concepts(counts["concepts"]),
        prompts=prompts(counts["prompts"]),
        share=share(numbers["known"]["share_rank_1"]),
    )
    if not neurons["total"]:
        return sentences(text, say("No concept has a knowledge neuron: nothing could be edited."))
    sizes, layers = neurons["per_concept_with_neurons"], neurons["distinct_by_layer"]
    found = say(
        "Knowledge neurons were found for {concepts}, {mean} on average ({range}, median "
        "{median}): {neurons}, most of them in layer {layer} (0-based).",
        concepts=concepts(sizes["n"]),
        mean=count(sizes["mean"]),
        range=interval(count(sizes["min"]), count(sizes["max"])),
        median=count(sizes["median"]),
        neurons=plural(neurons["distinct"], "{n} distinct neuron", "{n} distinct neurons"),
        layer=max(range(len(layers)), key=layers.__getitem__),
    )
    return sentences(text, found, _held_out(numbers))


def _held_out(numbers: Summary) -> str:
    part = numbers["environment"]["study"].get("holdout")
    if not part:
        return ""
    return say(
        "Own is measured on {share} of each concept's prompts, which were held out: the neurons "
        "were chosen from the others.",
        share=share(part),
    )
