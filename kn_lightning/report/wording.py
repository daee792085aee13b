"""``summary.json`` → the sentences of the report.

Every number in a sentence comes from the summary; both templates print the same sentences.
"""

from __future__ import annotations

from typing import Any

from kn_lightning.report.numerals import count, of, percent, share

Summary = dict[str, Any]


def kind_label(kind: str, numbers: Summary) -> str:
    """What a kind of prompts and neurons is called in tables and figures."""
    unrelated = numbers["environment"]["study"]["unrelated"]
    labels = {
        "own": "own prompts",
        "other": "other concepts' prompts",
        "unrelated": f"prompts of “{unrelated}”",
        "random": "random neurons, own prompts",
        "activation": "most active neurons, own prompts",
        "foreign": "another concept's neurons, own prompts",
    }
    return labels.get(kind, kind)


def edit_label(edit: str) -> str:
    """An edit in words: the factor that its neurons are multiplied with."""
    words = {
        "suppress": "suppress (×\N{NO-BREAK SPACE}0)",
        "amplify": "amplify (×\N{NO-BREAK SPACE}2)",
    }
    return words.get(edit, edit.replace("factor:", "×\N{NO-BREAK SPACE}"))


def findings(numbers: Summary) -> list[str]:
    """The headline: what was found, in sentences with numbers, one paragraph each."""
    effects = [
        _effect(numbers, edit, own)
        for edit in ("suppress", "amplify")
        if (own := _own(numbers, edit))
    ]
    return [*effects, _extent(numbers)]


def _effect(numbers: Summary, edit: str, own: dict[str, Any]) -> str:
    falls = edit == "suppress"
    text = (
        f"{'Suppressing' if falls else 'Amplifying'} a concept's knowledge neurons "
        f"{'lowers' if falls else 'raises'} the probability of its own answer for "
        f"{share(own['falls' if falls else 'rises'])} of {of(own['n'], 'concept')} (median change "
        f"{percent(own['median'])}, middle half {percent(own['p25'])} to {percent(own['p75'])}), "
        f"and changes the first guess on {share(own['argmax_changed'])} of the prompts."
    )
    places = {
        "other": "on other concepts' prompts",
        "unrelated": f"on {kind_label('unrelated', numbers)}",
        "random": "for random neurons of the same layers on the own prompts",
    }
    others = [
        f"{percent(row['median'])} {places.get(kind, f'for {kind_label(kind, numbers)}')}"
        for kind, row in numbers["changes"][edit].items()
        if kind != "own" and row["n"]
    ]
    return f"{text} For comparison, the median change is {_list(others)}." if others else text


def _extent(numbers: Summary) -> str:
    counts, neurons = numbers["counts"], numbers["neurons"]
    text = (
        f"The study covers {of(counts['concepts'], 'concept')} with "
        f"{of(counts['prompts'], 'prompt')}. The model's first guess is right for "
        f"{share(numbers['known']['share_rank_1'])} of the prompts. "
    )
    if not neurons["total"]:
        return f"{text}No concept has a knowledge neuron here: nothing could be edited."
    sizes, bare = neurons["per_concept_with_neurons"], numbers["concepts_without_neurons"]
    text += (
        f"{of(sizes['n'], 'concept')} {'has' if sizes['n'] == 1 else 'have'} knowledge neurons, "
        f"{count(sizes['mean'])} on average ({count(sizes['min'])} to {count(sizes['max'])}, "
        f"median {count(sizes['median'])}): {of(neurons['distinct'], 'distinct neuron')}, most of "
        f"them in layer {_peak(neurons['distinct_by_layer'])} (0-based)."
    )
    if bare:
        text += (
            f" {of(bare, 'concept')} {'has' if bare == 1 else 'have'} none and "
            f"{'is' if bare == 1 else 'are'} left out of all statistics of change."
        )
    return text


def caveats(numbers: Summary) -> list[str]:
    """What speaks against reading too much into the findings, plainly."""
    result = [_control(row, numbers) for row in numbers["controls"] if row["reading"] != "less"]
    for edit, expected in (("suppress", -1), ("amplify", 1)):
        own = _own(numbers, edit)
        if own and own["median"] * expected <= 0:
            result.append(
                f"{edit.capitalize()}: the own probability does not "
                f"{'fall' if expected < 0 else 'rise'} in the median ({percent(own['median'])}). "
                "The neurons do not act as the method expects."
            )
    measured = numbers["neurons"]["per_concept_with_neurons"]["n"]
    if 0 < measured < 30:
        result.append(f"Medians and shares rest on {of(measured, 'concept')} only.")
    rank_1 = numbers["known"]["share_rank_1"]
    if rank_1 is not None and rank_1 < 0.25:
        result.append(
            f"The model's first guess is right for {share(rank_1)} of the prompts only: for most "
            "prompts it is not known to hold the knowledge whose neurons were looked for."
        )
    above = numbers["completeness"]["n_above_tolerance"]
    if above:
        completeness = numbers["completeness"]
        result.append(
            f"{of(above, 'attribution')} of {count(completeness['n'])} (one a prompt and layer) "
            f"miss the tolerance of {share(completeness['tolerance'])}; the largest residual is "
            f"{share(completeness['max'])}."
        )
    result += _undefined(numbers)
    if numbers["environment"]["study"].get("holdout") == 0:
        result.append(
            "Own is measured on the prompts from which the neurons were chosen. Holding prompts "
            "out (edit.holdout) shows how far the effect carries over to new ones."
        )
    if numbers["environment"]["encoder"]["id"] == "embedded":
        result.append(
            "The encoder is the small model that comes with the package, trained on a world of "
            "facts made for it. These numbers test the method; they say nothing about models of "
            "natural language."
        )
    return result


def _undefined(numbers: Summary) -> list[str]:
    undefined = {
        f"{edit}, {kind_label(kind, numbers)}: {row['n_undefined']}"
        for edit, kinds in numbers["changes"].items()
        for kind, row in kinds.items()
        if row["n_undefined"]
    }
    if not undefined:
        return []
    return [
        "Concepts left out of the statistics because their change has no value (a "
        "probability of 0 before the edit, or no neuron to edit): "
        f"{'; '.join(sorted(undefined))}."
    ]


def _control(row: dict[str, Any], numbers: Summary) -> str:
    label = kind_label(row["control"], numbers)
    medians = (
        f"median {percent(row['control_median'])} against {percent(row['own_median'])} for own"
    )
    name = f"{row['edit'].capitalize()}: "
    if row["reading"] == "as_much":
        return (
            f"{name}the control “{label}” moves about as much as own or more ({medians}). "
            "This edit gives no evidence that the neurons found are specific to their concept."
        )
    return (
        f"{name}the control “{label}” moves {share(row['ratio'])} as far as own in the median "
        f"({medians}). Own moves farther for {share(row['own_moves_more'])} of "
        f"{of(row['n_pairs'], 'concept')}; only what goes beyond the control speaks for the "
        "neurons found."
    )


def left_out(numbers: Summary) -> list[str]:
    """What the study does not cover and why, one paragraph each."""
    counts, bare = numbers["counts"], numbers["concepts_without_neurons"]
    if counts["skipped_by_reason"]:
        first = (
            f"{of(counts['skipped_concepts'], 'whole concept')} and "
            f"{of(counts['skipped_prompts'], 'single prompt')} were left out before the study, "
            "for the reasons below; skipped.parquet names each of them."
        )
    else:
        first = "Nothing was left out before the study."
    result = [first]
    if bare:
        result.append(
            f"{of(bare, 'concept')} of {count(counts['concepts'])} "
            f"{'has' if bare == 1 else 'have'} no knowledge neuron at this threshold and share. "
            f"Nothing can be edited there: {'it is' if bare == 1 else 'they are'} part of the "
            "counts and left out of the statistics of change."
        )
    return result


def _own(numbers: Summary, edit: str) -> dict[str, Any] | None:
    own = numbers["changes"].get(edit, {}).get("own")
    return own if own and own["n"] else None


def _peak(by_layer: list[int]) -> int:
    return max(range(len(by_layer)), key=by_layer.__getitem__)


def _list(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
