"""``summary.json`` → what was found, in sentences.

Every number in a sentence comes from the summary; both templates print the same sentences.
"""

from __future__ import annotations

from typing import Any

from kn_lightning.report import top_wording, value_wording, weight_wording
from kn_lightning.report.comparison_wording import beside_controls, pos_finding
from kn_lightning.report.labels import concepts, interval, prompts
from kn_lightning.report.language import plural, say, sentences
from kn_lightning.report.numerals import count, number, percent, share, with_interval

Summary = dict[str, Any]
Row = dict[str, Any]


def findings(numbers: Summary) -> list[str]:
    """The headline: what was found, in sentences with numbers, one paragraph each."""
    paragraphs = []
    for edit in ("suppress", "amplify"):
        if own := own_change(numbers, edit):
            paragraphs.append(_effect(numbers, edit, own))
    # Why there is no test is the same for both edits, and said once.
    paragraphs += dict.fromkeys(pos_finding(numbers, edit) for edit in ("suppress", "amplify"))
    paragraphs += top_wording.findings(numbers)
    paragraphs += weight_wording.findings(numbers)
    paragraphs += value_wording.findings(numbers)
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
    return sentences(text, *beside_controls(numbers, edit))


def _consistency(numbers: Summary) -> str:
    found = numbers["consistency"]
    if not found or not found["n"]:
        return _similarity(numbers)
    text = say(
        "Two wordings of one concept share {mean} of their coarse neurons on average (Jaccard "
        "index, {concepts}), prompts of two concepts {between}.",
        mean=with_interval(number, found["mean"], found["mean_ci"]),
        concepts=concepts(found["n"]),
        between=number(found["random_expectation"]),
    )
    return sentences(text, _similarity(numbers))


def _similarity(numbers: Summary) -> str:
    found = numbers["similarity"]
    if not found:
        return ""
    text = say(
        "The scores of all neurons have an n-sample similarity of {mean} across the wordings of a "
        "concept (mean of {concepts}).",
        mean=with_interval(number, found["mean"], found["mean_ci"]),
        concepts=concepts(found["n"]),
    )
    if not found["n_between"]:
        return text
    between = with_interval(number, found["between_mean"], found["between_mean_ci"])
    across = say(
        "Across up to as many prompts of different concepts it is {between} ({concepts}).",
        between=between,
        concepts=concepts(found["n_between"]),
    )
    return sentences(text, across)


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
