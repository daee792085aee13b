"""Frames → what the Explorer of ``report.html`` embeds, thinned where a study is large.

Everything is kept in columns, concepts, prompts and neurons are referred to by their place, and
probabilities have four digits: a page of 742 concepts and 5,000 prompts stays at a few MB.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pandas as pd
from markupsafe import Markup

from kn_lightning.report.changes import Changes, edit_order, kind_order
from kn_lightning.report.explorer_edits import KINDS, WEIGHTS, further_changes, further_order
from kn_lightning.report.likeness import likeness
from kn_lightning.report.rankings import concept_pos
from kn_lightning.report.tables import RunTables
from kn_lightning.schema import MASK

PROMPT_BYTES = 4_000_000
"""Of the texts of all prompts; beyond, each concept keeps its first ones only."""
N_NEURONS = 20_000
"""Knowledge neurons of all concepts; beyond, each concept keeps those with the largest scores."""
N_VALUES = 400_000
"""Probabilities; beyond, the later edits are left out, never the first two."""
N_NAMED = 10
"""Tokens of either end, and prompts, of a neuron."""
N_CHARACTERS = 400
"""Of a prompt; a longer one is cut around its mask."""

_ESCAPED = re.compile("[<>&\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""What would end the element, and what steers or turns around the text of the page."""

Columns = dict[str, Any]


def explorer(tables: RunTables, measured: Changes) -> Columns:
    """What the Explorer shows; empty where no prompt was studied.

    Args:
        tables: of the run.
        measured: its changes, from ``measured_changes``.

    Returns:
        ``concepts``, ``prompts``, ``neurons``, ``links`` (a neuron of a concept): columns by name,
        those of ``prompts`` but ``text`` and ``concept`` without the ones that only neurons name;
        ``edits``, ``kinds``, ``pos``: names; ``changes``, and ``further`` of weight edits and best
        neurons: edit → kind → columns by concept; ``nearest`` and ``map``: from ``likeness``;
        ``left_out``: file → edits in it that are not here.
    """
    if tables.prompts.empty:
        return {}
    names = sorted(tables.prompts["concept"].unique())
    place = pd.Series(range(len(names)), index=names)
    edits = edit_order(measured.concepts["edit"].unique().tolist())
    kinds = kind_order(measured.concepts["kind"].unique().tolist())
    n_each = len(tables.prompts) + 3 * len(kinds) * len(names)
    kept = edits[: max(2, N_VALUES // n_each)]
    others = further_order(tables)
    n_others = (N_VALUES - len(kept) * n_each) // (3 * len(KINDS) * len(names))
    further = others[: max(0, n_others)]
    concepts, pos = _concepts(tables, names)
    prompts = _prompts(tables, measured, place, kept)
    # First, as neurons may name prompts that their concepts don't show.
    neurons = _neurons(tables, place, prompts)
    del prompts["id"]
    return {
        "n_layers": tables.environment["encoder"]["n_layers"],
        "pos": pos,
        "edits": kept,
        "left_out": _left_out(edits[len(kept) :] + others[len(further) :]),
        "kinds": kinds,
        "concepts": concepts,
        "changes": _changes(measured.concepts, names, kept, kinds),
        "further": _changes(further_changes(tables), names, further, list(KINDS)),
        "prompts": prompts,
        **neurons,
        **likeness(tables.neurons, place),
    }


def embedded(content: object) -> Markup:
    """JSON that can stand inside ``<script>``, whatever its texts say.

    What is escaped only occurs inside of strings, where an escape means the same.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(_ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text))  # noqa: S704


def kept_places(groups: pd.Series, sizes: pd.Series, limit: int) -> pd.Series:
    """Which rows stay: the same number of first ones of every group, as many as the limit allows.

    Args:
        groups: of each row.
        sizes: of each row, what counts towards the limit.
        limit: of the sum of sizes; every group keeps one row even beyond it.

    Returns:
        One boolean a row.
    """
    places = groups.groupby(groups.to_numpy()).cumcount()
    totals = sizes.groupby(places.to_numpy()).sum().sort_index().cumsum()
    return places < max(1, int((totals <= limit).sum()))


def shortened(prompt: str) -> str:
    """A prompt, or what stands around its mask where it is long."""
    if len(prompt) <= N_CHARACTERS:
        return prompt
    start = max(0, prompt.find(MASK) - N_CHARACTERS // 2)
    end = start + N_CHARACTERS
    return f"{'…' * (start > 0)}{prompt[start:end]}{'…' * (end < len(prompt))}"


def _concepts(tables: RunTables, names: list[str]) -> tuple[Columns, list[str]]:
    parts = concept_pos(tables.prompts).reindex(names)
    codes, pos = pd.factorize(parts, sort=True)
    means = tables.prompts.groupby("concept")["probability"].agg(["size", "mean"]).reindex(names)
    sizes = tables.neurons["concept"].value_counts().reindex(names, fill_value=0)
    columns = {
        "name": names,
        "pos": codes.tolist(),
        "n_prompts": means["size"].tolist(),
        "n_neurons": sizes.tolist(),
        "probability": _rounded(means["mean"]),
    }
    return columns, pos.tolist()


def _changes(
    changes: pd.DataFrame, names: list[str], edits: list[str], kinds: list[str]
) -> dict[str, dict[str, Columns]]:
    found: dict[str, dict[str, Columns]] = {edit: {} for edit in edits}
    for edit in edits:
        for kind in kinds:
            rows = changes[(changes["edit"] == edit) & (changes["kind"] == kind)]
            if len(rows):
                rows = rows.set_index(rows["concept"].astype("str")).reindex(names)
                columns = ("before", "after", "change")
                found[edit][kind] = {name: _rounded(rows[name]) for name in columns}
    return found


def _left_out(edits: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for edit in edits:
        file = "weight_edits" if edit.startswith(f"{WEIGHTS}:") else "edits"
        found.setdefault(f"{file}.parquet", []).append(edit)
    return found


def _prompts(tables: RunTables, measured: Changes, place: pd.Series, edits: list[str]) -> Columns:
    rows = tables.prompts.assign(place=tables.prompts["concept"].map(place))
    rows = rows.sort_values("place", kind="stable").reset_index(drop=True)
    rows["text"] = rows["prompt"].map(shortened)
    sizes = rows["text"].map(lambda text: len(text.encode("utf-8")))
    rows = rows[kept_places(rows["place"], sizes, PROMPT_BYTES)]
    relations, distinct = pd.factorize(rows["relation"])
    own = measured.prompts[measured.prompts["kind"] == "own"]
    after = {}
    for edit in edits:
        here = own[own["edit"] == edit].drop_duplicates("prompt_id")
        values = here.set_index(here["prompt_id"].astype("str"))["probability_after"]
        after[edit] = _rounded(values.reindex(rows["prompt_id"]))
    return {
        "id": rows["prompt_id"].tolist(),
        "concept": rows["place"].tolist(),
        "text": rows["text"].tolist(),
        "relation": relations.tolist(),
        "relations": distinct.tolist(),
        "guess": rows["argmax"].tolist(),
        "rank": rows["rank"].tolist(),
        "before": _rounded(rows["probability"]),
        "after": after,
    }


def _neurons(tables: RunTables, place: pd.Series, prompts: Columns) -> Columns:
    """``neurons`` and ``links``; prompts that only they name are put behind ``prompts``."""
    rows = tables.neurons.sort_values(["concept", "score"], ascending=[True, False], kind="stable")
    rows = rows.reset_index(drop=True)
    rows = rows[kept_places(rows["concept"], pd.Series(1, index=rows.index), N_NEURONS)]
    keys = ["layer", "neuron"]
    distinct = rows[keys].drop_duplicates().sort_values(keys).reset_index(drop=True)
    number = distinct.assign(number=distinct.index)
    links = rows.merge(number, on=keys, how="left")
    n_concepts = tables.neurons.groupby(keys).size().reset_index(name="n")
    columns = {
        "layer": distinct["layer"].tolist(),
        "neuron": distinct["neuron"].tolist(),
        "n_concepts": distinct.merge(n_concepts, on=keys, how="left")["n"].tolist(),
    }
    linked = {
        "concept": links["concept"].map(place).tolist(),
        "neuron": links["number"].tolist(),
        "score": _rounded(links["score"]),
        "share": _rounded(links["share"]),
    }
    if tables.values is not None:
        own = tables.values[tables.values["neurons"] == "knowledge"].astype({"concept": "str"})
        found = links.merge(
            own.drop_duplicates(["concept", *keys]), on=["concept", *keys], how="left"
        )
        linked["rank"] = [None if pd.isna(rank) else int(rank) for rank in found["rank"]]
        linked["activation"] = _rounded(found["activation"])
        # What a neuron promotes, and what activates it, is the same for all its concepts.
        of_each = distinct.merge(own.drop_duplicates(keys), on=keys, how="left")
        columns |= _named(of_each, tables.prompts, place, prompts)
    return {"neurons": columns, "links": linked}


def _named(
    rows: pd.DataFrame, studied: pd.DataFrame, place: pd.Series, prompts: Columns
) -> Columns:
    """Tokens and prompts of each neuron."""
    known = {prompt: number for number, prompt in enumerate(prompts["id"])}
    asked = zip(studied["prompt"].tolist(), studied["concept"].tolist(), strict=True)
    texts = dict(zip(studied["prompt_id"].tolist(), asked, strict=True))

    def number_of(prompt: str) -> int:
        if prompt not in known:
            known[prompt] = len(prompts["text"])
            text, concept = texts[prompt]
            prompts["text"].append(shortened(text))
            prompts["concept"].append(int(place[concept]))
        return known[prompt]

    def first(values: Any) -> list[Any]:
        return (
            list(values[:N_NAMED]) if values is not None and not isinstance(values, float) else []
        )

    return {
        "promoted": [first(tokens) for tokens in rows["promoted"]],
        "demoted": [first(tokens) for tokens in rows["demoted"]],
        "prompts": [[number_of(prompt) for prompt in first(ids)] for ids in rows["prompts"]],
        "activations": [
            _rounded(pd.Series(first(each), dtype="float64")) for each in rows["activations"]
        ],
    }


def _rounded(values: pd.Series) -> list[float | None]:
    """Four digits of each; None where there is no finite number."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values.tolist()]
