"""Weight edits in ``summary.json`` → their sentences, table, and the words of their figure."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.caption import Caption
from kn_lightning.report.labels import concepts, listed
from kn_lightning.report.language import say, sentences
from kn_lightning.report.listing import Listing
from kn_lightning.report.numerals import count, percent, probability, share, with_interval
from kn_lightning.report.weights import UPDATE

Summary = dict[str, Any]
FIGURE = "weight_edits"
_KEPT = 0.9
"""Share of other concepts' first guesses below which an edit is called no local one."""


def weight_label(edit: str) -> str:
    """A weight edit in words."""
    labels = {
        "erase_zero": say("erase (zero)"),
        "erase_unk": say("erase ([UNK])"),
        UPDATE: say("update"),
    }
    return labels.get(edit, edit)


def aspect_label(aspect: str, numbers: Summary) -> str:
    """What is measured of a weight edit, and where that needs to be said, on which prompts."""
    labels = {
        "reliability": say("reliability"),
        "generality": say("generality"),
        "locality_unrelated": say(
            "locality (“{concept}”)", concept=numbers["environment"]["study"]["unrelated"]
        ),
        "locality_other": say("locality (others)"),
    }
    return labels[aspect]


def source_label(source: str) -> str:
    """Whose value vectors are edited."""
    labels = {"knowledge": say("the concept's neurons"), "random": say("random ones")}
    return labels[source]


def findings(numbers: Summary) -> list[str]:
    """What each weight edit did, one paragraph each."""
    edits = numbers["weight_edits"].items()
    return [_finding(numbers, edit, found) for edit, found in edits if "knowledge" in found]


def _finding(numbers: Summary, edit: str, found: dict[str, Any]) -> str:
    own = found["knowledge"]
    changes = (f"{aspect_label(aspect, numbers)} {_change(row)}" for aspect, row in own.items())
    guesses = (
        f"{aspect_label(aspect, numbers)} {share(row['as_intended']['mean'])}"
        for aspect, row in own.items()
    )
    text = say(
        "Weight edit “{edit}” of {concepts}: median change of the answer's probability: {changes}; "
        "first guesses that are as intended: {guesses}.",
        edit=weight_label(edit),
        concepts=concepts(own["reliability"]["n"]),
        changes=listed(*changes),
        guesses=listed(*guesses),
    )
    return sentences(text, _target(own["reliability"]), _beside_random(found))


def _change(row: dict[str, Any]) -> str:
    return with_interval(percent, row["change"]["median"], row["change"]["median_ci"])


def _target(row: dict[str, Any]) -> str:
    before, after = row["target_before"], row["target_after"]
    if after["median"] is None:
        return ""
    return say(
        "The new answer's probability on the prompts refined on is {before} in the median before, "
        "and {after} after the edit.",
        before=probability(before["median"]),
        after=probability(after["median"]),
    )


def _beside_random(found: dict[str, Any]) -> str:
    if "random" not in found:
        return ""
    row = found["random"]["reliability"]
    return say(
        "With random neurons of the same layers reliability is {change} and {guesses}.",
        change=_change(row),
        guesses=share(row["as_intended"]["mean"]),
    )


def caveats(numbers: Summary) -> list[str]:
    """Weight edits that change much besides their concept."""
    result = []
    for edit, found in numbers["weight_edits"].items():
        others = found.get("knowledge", {}).get("locality_other")
        if others and (kept := others["as_intended"]["mean"]) < _KEPT:
            text = say(
                "Weight edit “{edit}”: only {kept} of the first guesses on other concepts' prompts "
                "stay what they were. It changes the model at large, and not its concept alone.",
                edit=weight_label(edit),
                kept=share(kept),
            )
            result.append(text)
    return result


def listing(numbers: Summary) -> Listing:
    """The numbers of every weight edit, source of neurons and aspect."""
    rows = tuple(
        (
            weight_label(edit),
            aspect_label(aspect, numbers),
            source_label(source),
            count(row["n"]),
            _change(row),
            share(row["falls"]["mean"]),
            with_interval(share, row["as_intended"]["mean"], row["as_intended"]["mean_ci"]),
            probability(row["target_after"]["median"]),
        )
        for edit, sources in numbers["weight_edits"].items()
        for source, aspects in sources.items()
        for aspect, row in aspects.items()
    )
    heads = (say("Edit"), say("Measure"), say("Neurons edited"), say("Concepts"))
    return Listing(
        say("Reliability, generality and locality of weight edits"),
        (
            *heads,
            say("Change of P, median [95 % interval]"),
            say("Falls"),
            say("As intended [95 % interval]"),
            say("P of the new answer"),
        ),
        rows,
        n_words=3,
        note=say(
            "A weight edit changes what a neuron adds to the hidden state, and so acts at all "
            "positions of a text. Reliability is measured on the prompts that the neurons were "
            "refined on, generality on held-out ones (edit.holdout), locality on prompts of other "
            "concepts. P is that of each prompt's own answer, its change relative. “As intended” "
            "is the share of first guesses that are what the edit wants, averaged over concepts: "
            "on own prompts another than the answer where it came first (erase) or the new answer "
            "(update), elsewhere the one from before. Random neurons: as many in the same layers, "
            "averaged over the draws."
        ),
    )


def captions(numbers: Summary) -> dict[str, Caption]:
    """The words of the figure, where there are weight edits of concepts with neurons."""
    edits = {edit: found for edit, found in numbers["weight_edits"].items() if found}
    if not edits:
        return {}
    n = max(row["n"] for found in edits.values() for row in found["knowledge"].values())
    reading = say(
        "Left: the relative change of the answer's probability, the median over concepts with its "
        "95 % bootstrap interval; the axis is linear within ±10 % and logarithmic beyond. Right: "
        "the mean share of first guesses that are as the edit wants them, the answer gone (erase) "
        "or replaced by the new one (update), and for locality as before. A good edit lies far to "
        "the left and right in the upper rows, and at 0 % and 100 % in the locality rows; random "
        "neurons should change nothing."
    )
    return {
        FIGURE: Caption(
            title=say(
                "Weight edits, reliability, generality and locality: {concepts}",
                concepts=concepts(n),
            ),
            reading=reading,
            alt=say(
                "Points by edit. Median changes on the prompts refined on: {list}.",
                list=listed(
                    *(
                        f"{weight_label(edit)} {_change(found['knowledge']['reliability'])}"
                        for edit, found in edits.items()
                    )
                ),
            ),
        )
    }
