"""Two runs of the same sentences, another word masked → is a fact in the same neurons both ways?

Niu et al. (2024) ask it of relations that hold in both directions: what a model knows of "the
capital of France is [MASK]" it should also know of "the capital of [MASK] is Paris".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kn_lightning.errors import InputError
from kn_lightning.neuron_sets import Places, Sets, Values, jaccard_matrix, row_sets
from kn_lightning.report.pairing import Pairing, Pairs, pairing
from kn_lightning.report.sets import coarse_rows
from kn_lightning.report.tables import RunTables
from kn_lightning.schema import INTEGRATED_GRADIENTS, MASK

_ENCODER = ("weights_sha256", "id", "revision", "n_layers", "n_neurons")
_STUDY = {"attribution": INTEGRATED_GRADIENTS, "path": None, "threshold": None}
"""Settings that say what a coarse neuron is, and what runs of before there was a choice have."""


@dataclass(frozen=True, slots=True)
class Symmetry:
    """How alike the two prompts of a sentence are.

    Attributes:
        relation: By the Jaccard index of their coarse neurons, beside partners of one relation.
        template: Beside partners of one template, the sentence without its two words; of sentences
            whose template no other has, there are none.
        pairs: One row a sentence, most in common first: sentence, relation, template, concept_a,
            concept_b, jaccard, shared, n_a, n_b; permuted and permuted_template are the means over
            partners of the relation and of the template.
    """

    relation: Pairing
    template: Pairing
    pairs: pd.DataFrame


def symmetry(a: RunTables, b: RunTables) -> Symmetry:
    """Compare the prompts of each sentence that both runs have, another word masked in each.

    Raises:
        InputError: The runs are not of one encoder, count other neurons as coarse, or share no
            sentence.
    """
    _check_alike(a, b)
    sentences = _shared(a, b)
    first, second = (sentences[f"place_{run}"].to_numpy() for run in "ab")
    sets, n_a = _joined(a, b), len(a.prompts)
    clusters, _ = pd.factorize(sentences["concept_a"])

    def similarity(first: Places, second: Places) -> Values:
        return jaccard_matrix(sets, first, second + n_a)

    relation, template = (
        pairing(
            similarity,
            Pairs(first, second, pd.factorize(sentences[name])[0], clusters),
        )
        for name in ("relation", "template")
    )
    sizes = np.diff(sets.indptr)
    rows = sentences.drop(columns=["place_a", "place_b"]).assign(
        jaccard=relation.own,
        shared=sets[first].multiply(sets[second + n_a]).sum(axis=1),
        n_a=sizes[first],
        n_b=sizes[second + n_a],
        permuted=relation.permuted,
        permuted_template=template.permuted,
    )
    rows = rows.sort_values(["jaccard", "sentence"], ascending=[False, True])
    return Symmetry(relation, template, rows.reset_index(drop=True))


def _check_alike(a: RunTables, b: RunTables) -> None:
    encoders = [run.environment["encoder"] for run in (a, b)]
    # What the weights are says more than what they are called.
    hashed = all(encoder.get("weights_sha256") for encoder in encoders)
    for key in _ENCODER[:1] if hashed else _ENCODER[1:]:
        one, other = (encoder.get(key) for encoder in encoders)
        if one != other:
            raise InputError(
                f"{a.name} and {b.name}: their encoders differ in {key}, {one!r:.40} and"
                f" {other!r:.40}; give two runs of one encoder"
            )
    for key, default in _STUDY.items():
        one, other = (run.environment["study"].get(key, default) for run in (a, b))
        if one != other:
            raise InputError(
                f"{a.name} and {b.name}: {key} is {one} and {other}, so that coarse neurons mean"
                " two things; give two runs with the same settings"
            )


def _shared(a: RunTables, b: RunTables) -> pd.DataFrame:
    """Sentences of both runs, in the order of the first.

    Columns sentence, relation (of the first run), template, concept_a, concept_b, place_a, place_b.
    """
    both = _sentences(a).merge(_sentences(b), on="sentence", suffixes=("_a", "_b"))
    same = both["prompt_a"] == both["prompt_b"]
    if both.empty or same.all():
        what = "no sentence" if both.empty else "only sentences with the same word masked"
        raise InputError(
            f"{a.name} and {b.name} share {what}; give two runs of the same sentences, such as"
            " of `--data LamaPrompts --data.mask subject` and `--data.mask object`"
        )
    both = both[~same].reset_index(drop=True)
    both["template"] = [
        _template(*words)
        for words in zip(
            *(both[name] for name in ("prompt_a", "prompt_b", "concept_a", "concept_b")),
            strict=True,
        )
    ]
    columns = ["sentence", "relation_a", "template", "concept_a", "concept_b", "place_a", "place_b"]
    return both[columns].rename(columns={"relation_a": "relation"})


def _sentences(run: RunTables) -> pd.DataFrame:
    """Columns sentence, prompt, concept, relation, place; the first prompt of each sentence."""
    prompts = run.prompts[["prompt", "concept", "relation"]].assign(place=range(len(run.prompts)))
    filled = [
        _normal(prompt.replace(MASK, concept))
        for prompt, concept in zip(prompts["prompt"], prompts["concept"], strict=True)
    ]
    prompts["prompt"] = prompts["prompt"].map(_normal)
    return prompts.assign(sentence=filled).drop_duplicates("sentence")


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


def _template(prompt_a: str, prompt_b: str, word_a: str, word_b: str) -> str:
    """The sentence without its two words: the first run's prompt, less what the second masks."""
    gap = _normal(MASK)
    start = prompt_b.index(gap)
    if prompt_a.index(gap) < start:
        start += len(gap) - len(_normal(word_a))
    template = f"{prompt_a[:start]}[WORD]{prompt_a[start + len(_normal(word_b)) :]}"
    return template.replace(gap, MASK)


def _joined(a: RunTables, b: RunTables) -> Sets:
    """One row a prompt of the first run, then one a prompt of the second."""
    rows, other = coarse_rows(a), coarse_rows(b)
    other = np.where(other < 0, other, other + len(a.prompts))
    coarse = pd.concat([run.coarse[["layer", "neuron"]] for run in (a, b)])
    return row_sets(np.concatenate([rows, other]), coarse, len(a.prompts) + len(b.prompts))
