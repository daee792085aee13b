"""``summary.json`` → the tables of the report, as text that both templates print."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.listing import Listing
from kn_lightning.report.numerals import count, percent, probability, share, signed
from kn_lightning.report.settings import settings
from kn_lightning.report.wording import edit_label, kind_label

Summary = dict[str, Any]


def listings(numbers: Summary) -> dict[str, Listing]:
    """All tables by name; a table without rows is left out."""
    found = {
        "changes": _changes(numbers),
        "controls": _controls(numbers),
        "by_pos": _split(numbers, "pos", "Part of speech"),
        "by_relation": _split(numbers, "relation", "Relation"),
        "strongest_suppression": _strongest_suppression(numbers),
        "most_neurons": _most_neurons(numbers),
        "shared_neurons": _shared_neurons(numbers),
        "quality": _quality(numbers),
        "skipped": _skipped(numbers),
        **settings(numbers["environment"]),
    }
    return {name: listing for name, listing in found.items() if listing.rows}


def _changes(numbers: Summary) -> Listing:
    rows = [
        (
            edit_label(edit),
            kind_label(kind, numbers),
            count(row["n"]),
            percent(row["median"]),
            percent(row["mean"]),
            f"{percent(row['p25'])} to {percent(row['p75'])}",
            f"{percent(row['p05'])} to {percent(row['p95'])}",
            share(row["falls"]),
            share(row["rises"]),
            signed(row["log_odds"]),
            share(row["argmax_changed"]),
        )
        for edit, kinds in numbers["changes"].items()
        for kind, row in kinds.items()
    ]
    columns = ("Edit", "Measured on", "Concepts", "Median", "Mean", "Middle half", "5 % to 95 %")
    return Listing(
        "Relative change of the answer's probability",
        (*columns, "Falls", "Rises", "Log-odds", "First guess changed"),
        tuple(rows),
        n_words=2,
        note=(
            "A concept's relative change is (mean probability after − mean before) / mean before "
            "over its prompts; the columns summarise concepts. “Falls” and “Rises” are shares of "
            "concepts, “Log-odds” is the mean change of ln(P / (1 − P)), “First guess changed” a "
            "share of prompts. Random neurons: as many as the concept has, in the same layers, "
            "averaged over the draws."
        ),
    )


def _controls(numbers: Summary) -> Listing:
    rows = [
        (
            edit_label(row["edit"]),
            kind_label(row["control"], numbers),
            percent(row["own_median"]),
            percent(row["control_median"]),
            share(row["ratio"]),
            f"{share(row['own_moves_more'])} of {count(row['n_pairs'])}",
        )
        for row in numbers["controls"]
    ]
    return Listing(
        "Own prompts against each control",
        ("Edit", "Control", "Own median", "Control median", "Control / own", "Own moves farther"),
        tuple(rows),
        n_words=2,
        note="“Own moves farther” compares the size of both changes concept by concept.",
    )


def _split(numbers: Summary, column: str, title: str) -> Listing:
    edits = [edit for edit in numbers["changes"] if edit in ("suppress", "amplify")]
    rows = [
        (
            "not given" if row[column] is None else row[column],
            count(row["concepts"]),
            count(row["prompts"]),
            count(row["concepts_measured"]),
            *(percent(row["own_median"].get(edit)) for edit in edits),
        )
        for row in numbers[f"by_{column}"]
    ]
    heads = tuple(f"Median, {edit_label(edit)}" for edit in edits)
    return Listing(
        f"Own change by {title.lower()}",
        (title, "Concepts", "Prompts", "With neurons", *heads),
        tuple(rows),
        note="A concept's change is taken over its prompts of that relation alone."
        if column == "relation"
        else "",
    )


def _strongest_suppression(numbers: Summary) -> Listing:
    rows = [
        (
            row["concept"],
            count(row["neurons"]),
            probability(row["before"]),
            probability(row["after"]),
            percent(row["change"]),
            percent(row["random"]),
        )
        for row in numbers["strongest_suppression"]
    ]
    return Listing(
        "Concepts that suppression hits hardest",
        ("Concept", "Neurons", "P before", "P after", "Own change", "Random neurons"),
        tuple(rows),
        note="P is the mean probability of the answer over the concept's own prompts. "
        "The extremes of many concepts: expect them to be less extreme on new prompts.",
    )


def _most_neurons(numbers: Summary) -> Listing:
    rows = [
        (
            row["concept"],
            count(row["neurons"]),
            count(row["prompts"]),
            probability(row["mean_probability"]),
            percent(row["suppress"]),
            percent(row["amplify"]),
        )
        for row in numbers["most_neurons"]
    ]
    heads = (
        "Concept",
        "Neurons",
        "Prompts",
        "Mean P",
        edit_label("suppress"),
        edit_label("amplify"),
    )
    return Listing("Concepts with most knowledge neurons", heads, tuple(rows))


def _shared_neurons(numbers: Summary) -> Listing:
    rows = [
        (
            f"layer {row['layer']}, neuron {row['neuron']}",
            ", ".join(row["examples"]) + (", …" if row["concepts"] > len(row["examples"]) else ""),
            count(row["concepts"]),
            share(row["share"]),
        )
        for row in numbers["shared_neurons"]
    ]
    return Listing(
        "Neurons shared by most concepts",
        ("Neuron (0-based)", "Concepts with the highest scores", "Concepts", "Of all with neurons"),
        tuple(rows),
        n_words=2,
        note="A neuron that serves many concepts is hardly knowledge of one of them.",
    )


def _quality(numbers: Summary) -> Listing:
    known, complete = numbers["known"], numbers["completeness"]
    rows = (
        ("Prompts whose answer is the first guess", share(known["share_rank_1"])),
        ("Prompts whose answer is among the first ten", share(known["share_rank_10"])),
        ("Probability of the answer, mean", probability(known["mean_probability"])),
        ("Probability of the answer, median", probability(known["median_probability"])),
        ("Error of completeness, median", share(complete["median"])),
        ("Error of completeness, 95 % are below", share(complete["p95"])),
        ("Error of completeness, largest", share(complete["max"])),
        ("Attributions beyond the tolerance", count(complete["n_above_tolerance"])),
        (
            "Attributions without a relative error (totals all 0, or not a number)",
            count(complete["n_undefined"]),
        ),
        ("Gradient evaluations a prompt, mean", count(complete["evaluations_per_prompt"])),
        ("Gradient evaluations a prompt and layer, mean", count(complete["evaluations_per_layer"])),
    )
    return Listing("What the model knows, and how exact the scores are", ("Measure", "Value"), rows)


def _skipped(numbers: Summary) -> Listing:
    rows = [
        (row["reason"], count(row["concepts"]), count(row["prompts"]))
        for row in numbers["counts"]["skipped_by_reason"]
    ]
    return Listing(
        "Left out before the study", ("Reason", "Whole concepts", "Single prompts"), tuple(rows)
    )
