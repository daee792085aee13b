"""``summary.json`` → what speaks against reading too much into it, and what was left out."""

from __future__ import annotations

from typing import Any

from kn_lightning.report import value_wording, weight_wording
from kn_lightning.report.comparison_wording import p_equals
from kn_lightning.report.labels import (
    attributions,
    concepts,
    edit_label,
    edit_title,
    kind_label,
    listed,
    main_edits,
    prompts,
    test_label,
)
from kn_lightning.report.language import plural, say
from kn_lightning.report.numerals import count, percent, share
from kn_lightning.report.wording import own_change

Summary = dict[str, Any]

_SHOWN = 4
"""Unrelated prompts that are quoted."""


def caveats(numbers: Summary) -> list[str]:
    """What speaks against reading too much into the findings, plainly."""
    result = [_control(row, numbers) for row in numbers["controls"]]
    result += [_against(numbers, edit) for edit in ("suppress", "amplify")]
    result += weight_wording.caveats(numbers)
    result += value_wording.caveats(numbers)
    result += [_few(numbers), _unknown(numbers), _never_guessed(numbers), _unrelated(numbers)]
    result += [_inexact(numbers), _ablated(numbers), _undefined(numbers)]
    result += [_not_held_out(numbers), _testbed(numbers)]
    return [caveat for caveat in result if caveat]


def _control(row: dict[str, Any], numbers: Summary) -> str:
    if row["edit"] not in main_edits(numbers):
        return ""
    values = {
        "edit": edit_title(row["edit"]),
        "control": kind_label(row["control"], numbers),
        "median": percent(row["control_median"]),
        "own": percent(row["own_median"]),
        "concepts": concepts(row["n_pairs"]),
    }
    if row["control"] == "negated":
        return _negated(row, values)
    if row["reading"] == "as_much":
        return say(
            "{edit}: the control “{control}” moves about as much as own or more (median {median} "
            "against {own} for own, {concepts}). This edit gives no evidence that the neurons "
            "found are specific to their concept.",
            **values,
        )
    if row["reading"] == "notable":
        return say(
            "{edit}: the control “{control}” moves {ratio} as far as own in the median ({median} "
            "against {own} for own). Own moves farther for {share} of {concepts}; only what goes "
            "beyond the control speaks for the neurons found.",
            ratio=share(row["ratio"]),
            share=share(row["own_moves_more"]),
            **values,
        )
    if row["reading"] == "unclear":
        return say(
            "{edit}: the control “{control}” moves less than own in the median ({median} against "
            "{own} for own, {concepts}), but the test does not tell them apart.",
            **values,
        )
    return ""


def _negated(row: dict[str, Any], values: dict[str, str]) -> str:
    """Not a control of whose neurons they are: the answer is still the concept itself."""
    same_way = row["own_median"] * row["control_median"] > 0
    if row["reading"] in (None, "less") or not same_way:
        return ""
    return say(
        "{edit}: on prompts that say the opposite the answer moves {ratio} as far as on own ones "
        "in the median ({median} against {own}, {concepts}; {test} of one against the other: {p}). "
        "The neurons may act on the word, whatever the sentence says of it.",
        ratio=share(row["ratio"]),
        test=test_label("wilcoxon"),
        p=p_equals(row["p_adjusted"]),
        **values,
    )


def _against(numbers: Summary, edit: str) -> str:
    own = own_change(numbers, edit)
    if own is None or own["median"] * (-1 if edit == "suppress" else 1) > 0:
        return ""
    values = {"edit": edit_title(edit), "median": percent(own["median"])}
    if edit == "suppress":
        return say(
            "{edit}: the own probability does not fall in the median ({median}). The neurons do "
            "not act as the method expects.",
            **values,
        )
    return say(
        "{edit}: the own probability does not rise in the median ({median}). The neurons do not "
        "act as the method expects.",
        **values,
    )


def _few(numbers: Summary) -> str:
    n = numbers["neurons"]["per_concept_with_neurons"]["n"]
    if not 0 < n < 30:
        return ""
    return say("Medians and shares rest on {concepts} only.", concepts=concepts(n))


def _unknown(numbers: Summary) -> str:
    rank_1 = numbers["known"]["share_rank_1"]
    if rank_1 is None or rank_1 >= 0.25:
        return ""
    return say(
        "The model's first guess is right for {share} of the prompts only: for most prompts it is "
        "not known to hold the knowledge whose neurons were looked for.",
        share=share(rank_1),
    )


def _never_guessed(numbers: Summary) -> str:
    n = numbers["known"]["concepts_never_guessed"]
    if not n:
        return ""
    return say(
        "Of {n} of {concepts} no prompt has the answer among the model's first ten guesses. A "
        "relative change of so small a probability says little, and it counts like any other in "
        "medians and means.",
        n=count(n),
        concepts=concepts(numbers["counts"]["concepts"]),
    )


def _unrelated(numbers: Summary) -> str:
    texts = numbers["environment"]["study"].get("unrelated_prompts")
    if not texts:
        return ""
    return say(
        "“{concept}” has {prompts} that are none of the study's own, to begin with: {list}. "
        "Whether they are unrelated to its concepts is for the reader to judge.",
        concept=numbers["environment"]["study"]["unrelated"],
        prompts=prompts(len(texts)),
        list=listed(*(f"“{text}”" for text in texts[:_SHOWN])),
    )


def _inexact(numbers: Summary) -> str:
    found = numbers["completeness"]
    if not found["n_above_tolerance"]:
        return ""
    return say(
        "{attributions} of {n} (one a prompt and layer) miss the tolerance of {tolerance}; the "
        "largest residual is {largest}.",
        attributions=attributions(found["n_above_tolerance"]),
        n=count(found["n"]),
        tolerance=share(found["tolerance"]),
        largest=share(found["max"]),
    )


def _ablated(numbers: Summary) -> str:
    found = numbers["ablated"]
    if found is None or not found["n_crowded"]:
        return ""
    return say(
        "Of each prompt {candidates} neurons were ablated one by one, those with the largest "
        "scores of the layer's path. In {n} of {prompts} more than a quarter of them are coarse, "
        "so that some beyond them may be coarse as well (model.candidates).",
        candidates=count(found["candidates"]),
        n=count(found["n_crowded"]),
        prompts=plural(found["n"], "{n} prompt", "{n} prompts"),
    )


def _undefined(numbers: Summary) -> str:
    undefined = [
        f"{edit_label(edit)}, {kind_label(kind, numbers)}: {count(row['n_undefined'])}"
        for edit, kinds in numbers["changes"].items()
        for kind, row in kinds.items()
        if row["n_undefined"]
    ]
    if not undefined:
        return ""
    return say(
        "Concepts left out of the statistics because their change has no value (a probability of "
        "0 before the edit, or no neuron to edit): {list}.",
        list=listed(*undefined),
    )


def _not_held_out(numbers: Summary) -> str:
    measured = any(row["n"] for kinds in numbers["changes"].values() for row in kinds.values())
    study = numbers["environment"]["study"]
    if not measured:
        return ""
    if study.get("neurons"):
        return say(
            "The neurons were found elsewhere ({file}; refine.neurons): threshold and share of "
            "this study have chosen none of them, and whether they were chosen on the prompts on "
            "which own is measured is not known here.",
            file=study["neurons"],
        )
    if study.get("holdout") != 0:
        return ""
    return say(
        "Own is measured on the prompts from which the neurons were chosen. Holding prompts out "
        "(edit.holdout) shows how far the effect carries over to new ones."
    )


def _testbed(numbers: Summary) -> str:
    if numbers["environment"]["encoder"]["id"] != "embedded":
        return ""
    return say(
        "The encoder is the small model that comes with the package, trained on a world of facts "
        "made for it. These numbers test the method; they say nothing about models of natural "
        "language."
    )


def left_out(numbers: Summary) -> list[str]:
    """What the study does not cover and why, one paragraph each."""
    counts, bare = numbers["counts"], numbers["concepts_without_neurons"]
    if counts["skipped_by_reason"]:
        whole, single = counts["skipped_concepts"], counts["skipped_prompts"]
        result = [
            say(
                "Left out before the study, for the reasons below: {concepts} and {prompts}; "
                "skipped.parquet names each of them.",
                concepts=plural(whole, "{n} whole concept", "{n} whole concepts"),
                prompts=plural(single, "{n} single prompt", "{n} single prompts"),
            )
        ]
    else:
        result = [say("Nothing was left out before the study.")]
    if bare:
        result.append(
            say(
                "Without any knowledge neuron at this threshold and share: {bare} of {n} concepts. "
                "Nothing can be edited there: they are part of the counts and left out of the "
                "statistics of change.",
                bare=count(bare),
                n=count(counts["concepts"]),
            )
        )
    return result
