"""Concepts and neurons in ``summary.json`` → tables of them."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.labels import edit_label, pos_label
from kn_lightning.report.language import say
from kn_lightning.report.listing import Listing
from kn_lightning.report.numerals import count, number, percent, probability, share

Summary = dict[str, Any]


def by_pos(numbers: Summary) -> Listing:
    """Own change by part of speech."""
    rows = [(pos_label(row["pos"]), row) for row in numbers["by_pos"]]
    return _split(numbers, rows, say("Own change by part of speech"), say("Part of speech"))


def by_relation(numbers: Summary) -> Listing:
    """Own change by relation."""
    rows = [(row["relation"] or say("not given"), row) for row in numbers["by_relation"]]
    note = say("A concept's change is taken over its prompts of that relation alone.")
    return _split(numbers, rows, say("Own change by relation"), say("Relation"), note)


def _split(
    numbers: Summary, rows: list[tuple[str, dict[str, Any]]], title: str, head: str, note: str = ""
) -> Listing:
    edits = [edit for edit in numbers["changes"] if edit in ("suppress", "amplify")]
    return Listing(
        title,
        (
            head,
            say("Concepts"),
            say("Prompts"),
            say("With neurons"),
            *(say("Median, {edit}", edit=edit_label(edit)) for edit in edits),
        ),
        tuple(
            (
                name,
                count(row["concepts"]),
                count(row["prompts"]),
                count(row["concepts_measured"]),
                *(percent(row["own_median"].get(edit)) for edit in edits),
            )
            for name, row in rows
        ),
        note=note,
    )


def strongest_suppression(numbers: Summary) -> Listing:
    """The concepts whose own probability falls most."""
    rows = tuple(
        (
            row["concept"],
            count(row["neurons"]),
            probability(row["before"]),
            probability(row["after"]),
            percent(row["change"]),
            percent(row["random"]),
        )
        for row in numbers["strongest_suppression"]
    )
    heads = (say("Concept"), say("Neurons"), say("P before"), say("P after"))
    return Listing(
        say("Concepts that suppression hits hardest"),
        (*heads, say("Own change"), say("Random neurons")),
        rows,
        note=say(
            "P is the mean probability of the answer over the concept's own prompts. The extremes "
            "of many concepts: expect them to be less extreme on new prompts."
        ),
    )


def most_neurons(numbers: Summary) -> Listing:
    """The concepts with most knowledge neurons."""
    rows = tuple(
        (
            row["concept"],
            count(row["neurons"]),
            count(row["prompts"]),
            probability(row["mean_probability"]),
            percent(row["suppress"]),
            percent(row["amplify"]),
        )
        for row in numbers["most_neurons"]
    )
    heads = (say("Concept"), say("Neurons"), say("Prompts"), say("Mean P"))
    return Listing(
        say("Concepts with most knowledge neurons"),
        (*heads, edit_label("suppress"), edit_label("amplify")),
        rows,
    )


def shared_neurons(numbers: Summary) -> Listing:
    """The neurons of most concepts."""
    rows = tuple(
        (
            say("layer {layer}, neuron {neuron}", layer=row["layer"], neuron=row["neuron"]),
            ", ".join(row["examples"]) + (", …" if row["concepts"] > len(row["examples"]) else ""),
            count(row["concepts"]),
            share(row["share"]),
        )
        for row in numbers["shared_neurons"]
    )
    heads = (say("Neuron (0-based)"), say("Concepts with the highest scores"), say("Concepts"))
    return Listing(
        say("Neurons shared by most concepts"),
        (*heads, say("Of all with neurons")),
        rows,
        n_words=2,
        note=say("A neuron that serves many concepts is hardly knowledge of one of them."),
    )


def overlapping(numbers: Summary) -> Listing:
    """The pairs of concepts with the most alike knowledge neurons."""
    rows = tuple(
        (pair["a"], pair["b"], count(pair["shared"]), number(pair["jaccard"]))
        for pair in (numbers["overlap"] or {}).get("max_pairs", ())
    )
    heads = (say("Concept"), say("Other concept"), say("Neurons in common"), say("Jaccard index"))
    return Listing(say("Concepts that overlap most"), heads, rows, n_words=2)
