"""What the Explorer says, in the language spoken now."""

from __future__ import annotations

from typing import Any

from kn_lightning.report import top_wording, weight_wording
from kn_lightning.report.explorer import N_NAMED
from kn_lightning.report.explorer_edits import KINDS, TOP, WEIGHTS
from kn_lightning.report.labels import edit_label, kind_label, listed, pos_label, times
from kn_lightning.report.language import plural, say, sentences

Summary = dict[str, Any]


def texts(explored: dict[str, Any], numbers: Summary) -> dict[str, Any]:
    """All texts by name; ``edits``, ``kinds`` and ``pos`` by the names in ``explored``.

    ``{places}`` stay as they are: the page fills them in.
    """
    return {
        "edits": {edit: _edit(edit) for edit in [*explored["edits"], *explored["further"]]},
        "kinds": {
            **{kind: kind_label(kind, numbers) for kind in explored["kinds"]},
            **{kind: _further_kind(kind, numbers) for kind in KINDS if explored["further"]},
        },
        "pos": {pos: pos_label(pos) for pos in explored["pos"]},
        **_heads(),
        **_titles(),
        **_messages(explored),
    }


def _edit(edit: str) -> str:
    """An edit of the activations, of weights, or of so many best neurons."""
    name, _, what = edit.partition(":")
    if name == WEIGHTS:
        return say("weight edit: {edit}", edit=weight_wording.weight_label(what))
    if name == TOP:
        neurons = plural(int(what), "{n} neuron", "{n} neurons")
        return say("suppress {neurons} ({times})", neurons=neurons, times=times("0"))
    return edit_label(edit)


def _further_kind(kind: str, numbers: Summary) -> str:
    source, _, aspect = kind.partition(" ")
    if not aspect:
        return listed(kind_label("own", numbers), top_wording.source_label(source))
    return listed(weight_wording.aspect_label(aspect, numbers), weight_wording.source_label(source))


def _heads() -> dict[str, str]:
    """Heads of columns."""
    return {
        "concept": say("Concept"),
        "part_of_speech": say("Part of speech"),
        "prompts": say("Prompts"),
        "neurons": say("Neurons"),
        "prompt": say("Prompt"),
        "relation": say("Relation"),
        "guess": say("First guess"),
        "rank": say("Rank of the answer"),
        "before": say("P before"),
        "after": say("P after: {edit}", edit="{edit}"),
        "after_all": say("P after"),
        "own_change": say("Own change: {edit}", edit="{edit}"),
        "change": say("Relative change"),
        "edit": say("Edit"),
        "kind": say("Prompts and neurons edited"),
        "layer": say("Layer (0-based)"),
        "neuron": say("Layer, neuron"),
        "score": say("Score"),
        "share": say("Share of prompts"),
        "n_concepts": say("Concepts"),
        "value_rank": say("Rank of the concept"),
        "activation": say("Activation"),
        "in_common": say("Neurons in common"),
        "jaccard": say("Jaccard index"),
        "place": say("Place"),
        "promoted": say("Promoted tokens"),
        "demoted": say("Demoted tokens"),
    }


def _titles() -> dict[str, str]:
    """Headings and buttons."""
    return {
        "list": say("All concepts"),
        "of_neuron": say("Layer {layer}, neuron {neuron}", layer="{layer}", neuron="{neuron}"),
        "its_prompts": say("Its prompts"),
        "its_changes": say("Means by edit"),
        "its_layers": say("Its neurons by layer"),
        "its_neurons": say("Its neurons"),
        "its_nearest": say("Concepts that share most with it"),
        "its_concepts": say("Its concepts"),
        "its_tokens": say("What it promotes and demotes"),
        "its_top": say("Prompts that activate it most"),
        "map": say("Overlap map of the {n} concepts that share most", n="{n}"),
        "all": say("Show all {n} rows", n="{n}"),
        "all_neurons": say("Show all {n} neurons", n="{n}"),
    }


def _messages(explored: dict[str, Any]) -> dict[str, str]:
    """Sentences."""
    left_out = [
        say("Not on this page but in {file}: {edits}.", file=file, edits=listed(*map(_edit, edits)))
        for file, edits in explored["left_out"].items()
    ]
    further = [*explored["further"], *sum(explored["left_out"].values(), [])]
    weights = any(edit.startswith(f"{WEIGHTS}:") for edit in further)
    return {
        "shown": say("Concepts shown: {n} of {total}", n="{n}", total="{total}"),
        "shown_both": say(
            "Concepts shown: {n} of {total}. Neurons shown: {neurons} of {found}",
            n="{n}",
            total="{total}",
            neurons="{neurons}",
            found="{found}",
        ),
        "neurons_found": say("Neurons of that number, or that promote that token: {n}.", n="{n}"),
        "choose": say("Choose a concept in the table, or a neuron of one."),
        "summary": say(
            "Prompts: {prompts}. Knowledge neurons: {neurons}. Mean probability: {probability}.",
            prompts="{prompts}",
            neurons="{neurons}",
            probability="{probability}",
        ),
        "summary_neuron": say("Concepts that have it as a knowledge neuron: {n}.", n="{n}"),
        "no_concept": say("This run has no concept “{name}”.", name="{name}"),
        "no_neuron": say(
            "“{name}” is no knowledge neuron of a concept on this page; a neuron is written as "
            "layer-number, and neurons.parquet has all.",
            name="{name}",
        ),
        "no_neurons": say("It has no knowledge neurons to edit."),
        "none_near": say("No other concept has a neuron in common with it."),
        "no_values": say(
            "Without --refine.values the run didn't look at what neurons promote, or at which "
            "prompts activate them most."
        ),
        "fewer_prompts": say(
            "{n} of {total} prompts are on this page; prompts.parquet and edits.parquet have all.",
            n="{n}",
            total="{total}",
        ),
        "fewer_neurons": say(
            "The {n} neurons with the largest scores of {total}; neurons.parquet has all.",
            n="{n}",
            total="{total}",
        ),
        "left_out": sentences(*left_out),
        "about_prompts": sentences(
            say(
                "P is the probability of the answer; after edits of the concept's knowledge "
                "neurons. What other neurons do to a single prompt is in edits.parquet."
            ),
            say("What weight edits do to it is in weight_edits.parquet.") if weights else "",
        ),
        "about_values": say(
            "The first {n} at either end; values.parquet has all. A neuron with a negative "
            "activation promotes what is called demoted here.",
            n=N_NAMED,
        ),
        "about_map": say(
            "Each cell is the Jaccard index of two concepts' knowledge neurons in percent: the "
            "neurons in both over the neurons in either. Similar concepts stand side by side."
        ),
    }
