"""``summary.json`` → the tables of the report, as text that both templates print."""

from __future__ import annotations

from typing import Any

from kn_lightning.report import (
    change_listings,
    concept_listings,
    top_wording,
    value_wording,
    weight_wording,
)
from kn_lightning.report.agreement_wording import agreement_listing, evaluations, exactness
from kn_lightning.report.labels import mean_of_pairs
from kn_lightning.report.language import say
from kn_lightning.report.listing import Listing
from kn_lightning.report.numerals import count, number, probability, share, with_interval
from kn_lightning.report.settings import settings

Summary = dict[str, Any]


def listings(numbers: Summary) -> dict[str, Listing]:
    """All tables by name; a table without rows is left out."""
    found = {
        "changes": change_listings.changes(numbers),
        "spread": change_listings.spread(numbers),
        "controls": change_listings.controls(numbers),
        "doses": change_listings.doses(numbers),
        "top": top_wording.listing(numbers),
        "weight_edits": weight_wording.listing(numbers),
        "values": value_wording.by_layer(numbers),
        "value_neurons": value_wording.strongest(numbers),
        "pos_tests": change_listings.pos_tests(numbers),
        "by_pos": concept_listings.by_pos(numbers),
        "by_relation": concept_listings.by_relation(numbers),
        "strongest_suppression": concept_listings.strongest_suppression(numbers),
        "most_neurons": concept_listings.most_neurons(numbers),
        "shared_neurons": concept_listings.shared_neurons(numbers),
        "overlapping": concept_listings.overlapping(numbers),
        "likeness": _likeness(numbers),
        "quality": _quality(numbers),
        "agreement": agreement_listing(numbers),
        "skipped": _skipped(numbers),
        **settings(numbers["environment"]),
    }
    return {name: listing for name, listing in found.items() if listing.rows}


def _likeness(numbers: Summary) -> Listing:
    """Of coarse sets and scores between prompts, of knowledge neurons between concepts."""
    rows: list[tuple[str, str]] = []
    consistency, overlap = numbers["consistency"], numbers["overlap"]
    if consistency and consistency["n"]:
        mean = with_interval(number, consistency["mean"], consistency["mean_ci"])
        rows += [
            (say("Coarse neurons, two prompts of one concept: mean"), mean),
            (say("… median over concepts"), number(consistency["median"])),
            (
                say("Coarse neurons, prompts of two concepts: mean"),
                number(consistency["random_expectation"]),
            ),
            (say("Concepts with one prompt only, left out"), count(consistency["n_single"])),
        ]
    if found := numbers["similarity"]:
        rows += [
            (
                say("Scores of all neurons, prompts of one concept: n-sample similarity, mean"),
                with_interval(number, found["mean"], found["mean_ci"]),
            ),
            (
                say("… up to as many prompts of different concepts"),
                with_interval(number, found["between_mean"], found["between_mean_ci"]),
            ),
        ]
    if overlap and overlap["n_pairs"]:
        rows += [
            (say("Knowledge neurons, two concepts: mean"), number(overlap["mean"])),
            (say("… both of one part of speech"), mean_of_pairs(overlap["same_pos"])),
            (say("… of two parts of speech"), mean_of_pairs(overlap["different_pos"])),
            (say("… with a relation in common"), mean_of_pairs(overlap["same_relation"])),
            (say("… without one"), mean_of_pairs(overlap["different_relation"])),
            (
                say("Pairs of concepts without any neuron in common"),
                f"{share(overlap['share_disjoint'])} / {count(overlap['n_pairs'])}",
            ),
        ]
    return Listing(
        say("How alike the neurons of prompts and of concepts are"),
        (say("Measure"), say("Value")),
        tuple(rows),
        note=say(
            "The Jaccard index of two sets: the neurons in both over the neurons in any; 1 where "
            "they are the same, 0 where they share none. Of scores the n-sample similarity (Niu et "
            "al. 2024): 1 where n score vectors lie on one line, 0 where they are orthogonal. In "
            "brackets the 95 % bootstrap interval."
        ),
    )


def _quality(numbers: Summary) -> Listing:
    known, complete = numbers["known"], numbers["completeness"]
    rows = (
        (say("Prompts whose answer is the first guess"), share(known["share_rank_1"])),
        (say("Prompts whose answer is among the first ten"), share(known["share_rank_10"])),
        (say("Probability of the answer, mean"), probability(known["mean_probability"])),
        (say("Probability of the answer, median"), probability(known["median_probability"])),
        *exactness(numbers),
        (
            say("Attributions without a relative error (totals all 0, or not a number)"),
            count(complete["n_undefined"]),
        ),
        *evaluations(numbers),
    )
    return Listing(
        say("What the model knows, and how exact the scores are"),
        (say("Measure"), say("Value")),
        rows,
    )


def _skipped(numbers: Summary) -> Listing:
    rows = [
        (row["reason"], count(row["concepts"]), count(row["prompts"]))
        for row in numbers["counts"]["skipped_by_reason"]
    ]
    return Listing(
        say("Left out before the study"),
        (say("Reason, as skipped.parquet has it"), say("Whole concepts"), say("Single prompts")),
        tuple(rows),
    )
