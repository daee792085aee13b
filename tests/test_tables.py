"""Tensors of an outcome as rows: every value in the row, and under the name, where it belongs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
import torch
from callbacks.commands import command, refused

from kn_lightning.core.comparison import Compared
from kn_lightning.core.neurons import CoarseNeurons, RefinedNeurons
from kn_lightning.core.similarity import Similarity
from kn_lightning.data.study import Pack
from kn_lightning.outcome import Outcome
from kn_lightning.schema import (
    NO_TOKEN,
    OPTIONAL_TABLES,
    TABLES,
    Attribution,
    EncodedGroup,
    EncodedPrompt,
)
from kn_lightning.tables import guesses, outcome_tables

NAN = float("nan")
WORDS = ["the", "kitten", "cat", "paris"]
ENCODER = cast("Any", SimpleNamespace(text=lambda ids: " ".join(WORDS[i] for i in ids)))


def prompt(prompt_id: str, relation: str | None, n_tokens: int) -> EncodedPrompt:
    """A prompt; its text is made of its id."""
    concept = prompt_id.split("/")[0]
    text = f"[MASK] {prompt_id}"
    return EncodedPrompt(prompt_id, concept, text, relation, (9,) * n_tokens, (1,), (1,))


def neurons(*rows: tuple[int, int, float, float]) -> RefinedNeurons:
    """Refined neurons given as rows."""
    layer, neuron, share, score = zip(*rows, strict=True) if rows else ((), (), (), ())
    return RefinedNeurons(
        torch.tensor(layer, dtype=torch.long),
        torch.tensor(neuron, dtype=torch.long),
        torch.tensor(share),
        torch.tensor(score),
    )


@pytest.fixture
def outcome() -> Outcome:
    """Three concepts with two, one and one prompts; two layers of three neurons."""
    kitten = (prompt("kitten/0", "IsA", 5), prompt("kitten/2", None, 7))
    groups = (
        EncodedGroup("kitten", "noun", kitten),
        EncodedGroup("paris", None, (prompt("paris/0", None, 6),)),
        EncodedGroup("cat", "noun", (prompt("cat/1", "HasA", 4),)),
    )
    scores = torch.arange(24.0).view(4, 2, 3) / 100
    scores[2] = -1  # the answer paris owes nothing to any neuron
    attribution = Attribution(
        scores=scores,
        total=torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]]),
        residual=torch.tensor([[0.01, 0.02], [0.03, 0.04], [0.05, 0.06], [0.07, 0.08]]),
        probability=torch.tensor([0.9, 0.8, 0.7, 0.6]),
        evaluations=torch.tensor([[3, 5], [3, 3], [8, 18], [5, 5]]),
        rank=torch.tensor([1, 2, 3, 4]),
        argmax=torch.tensor([[1], [2], [0], [3]]),
        log_odds=torch.tensor([4.0, 3.0, 2.0, 1.0]),
        activations=scores,
    )
    coarse = CoarseNeurons(
        prompt=torch.tensor([0, 0, 1, 3, 3, 3]),
        layer=torch.tensor([0, 1, 1, 0, 1, 1]),
        neuron=torch.tensor([2, 0, 2, 1, 1, 2]),
        score=torch.tensor([0.02, 0.03, 0.11, 0.19, 0.22, 0.23]),
    )
    refined = [neurons((1, 0, 0.5, 0.06), (1, 2, 1.0, 0.08)), neurons(), neurons((0, 1, 1.0, 0.19))]
    edits = pa.Table.from_pylist([], schema=TABLES["edits"])
    similarity = Similarity(
        own=torch.tensor([0.5, NAN, NAN], dtype=torch.float64),
        between=torch.tensor([0.25, NAN, 0.75], dtype=torch.float64),
    )
    return Outcome(Pack(4, groups), attribution, coarse, refined, edits, similarity)


def rows(outcome: Outcome, name: str) -> list[tuple[Any, ...]]:
    """A table's rows, floats rounded to what float32 holds."""
    table = outcome_tables(outcome, ENCODER)[name]
    assert table.schema.equals(TABLES[name])
    return [
        tuple(round(v, 6) if isinstance(v, float) else v for v in row.values())
        for row in table.to_pylist()
    ]


def test_prompts_have_one_row_each_in_the_packs_order(outcome: Outcome) -> None:
    kitten = [(f"kitten/{i}", "kitten", f"[MASK] kitten/{i}") for i in (0, 2)]
    paris, cat = ("paris/0", "paris", "[MASK] paris/0"), ("cat/1", "cat", "[MASK] cat/1")
    assert rows(outcome, "prompts") == [
        (*kitten[0], "IsA", "noun", 5, 0.9, 1, "kitten", 0.05, 2, 8, 0.5, 0.25),
        (*kitten[1], None, "noun", 7, 0.8, 2, "cat", 0.11, 1, 6, 0.5, 0.25),
        (*paris, None, None, 6, 0.7, 3, "the", -1.0, 0, 26, None, None),
        (*cat, "HasA", "noun", 4, 0.6, 4, "paris", 0.23, 3, 10, None, 0.75),
    ]


def test_guesses_are_the_words_at_a_prompts_own_masks(outcome: Outcome) -> None:
    one, two = outcome.prompts[:2]
    two = replace(two, mask_positions=(1, 2), answers=(1, 1))
    argmax = [[1, NO_TOKEN], [2, 3], [0, NO_TOKEN]]
    assert guesses(ENCODER, [one, two, one], argmax) == ["kitten", "cat paris", "the"]


def test_completeness_has_a_row_for_every_prompt_and_layer(outcome: Outcome) -> None:
    assert rows(outcome, "completeness") == [
        ("kitten/0", 0, 0.1, 0.01),
        ("kitten/0", 1, 0.2, 0.02),
        ("kitten/2", 0, 0.3, 0.03),
        ("kitten/2", 1, 0.4, 0.04),
        ("paris/0", 0, 0.5, 0.05),
        ("paris/0", 1, 0.6, 0.06),
        ("cat/1", 0, 0.7, 0.07),
        ("cat/1", 1, 0.8, 0.08),
    ]


def test_coarse_neurons_belong_to_their_prompt(outcome: Outcome) -> None:
    assert rows(outcome, "coarse") == [
        ("kitten/0", 0, 2, 0.02),
        ("kitten/0", 1, 0, 0.03),
        ("kitten/2", 1, 2, 0.11),
        ("cat/1", 0, 1, 0.19),
        ("cat/1", 1, 1, 0.22),
        ("cat/1", 1, 2, 0.23),
    ]


def test_refined_neurons_belong_to_their_concept(outcome: Outcome) -> None:
    assert rows(outcome, "neurons") == [
        ("kitten", 1, 0, 0.5, 0.06),
        ("kitten", 1, 2, 1.0, 0.08),
        ("cat", 0, 1, 1.0, 0.19),
    ]


def test_pack_without_any_neuron_has_empty_tables_of_the_same_columns(outcome: Outcome) -> None:
    empty = torch.empty(0, dtype=torch.long)
    outcome.coarse = CoarseNeurons(empty, empty, empty, torch.empty(0))
    outcome.refined = [neurons(), neurons(), neurons()]
    assert rows(outcome, "coarse") == []
    assert rows(outcome, "neurons") == []
    assert [row[10] for row in rows(outcome, "prompts")] == [0, 0, 0, 0]


def test_edits_are_handed_on_as_they_are(outcome: Outcome) -> None:
    assert outcome_tables(outcome, ENCODER)["edits"] is outcome.edits
    assert outcome_tables(outcome, ENCODER).keys() == TABLES.keys()


def test_agreement_has_a_row_for_every_prompt_and_compared_attribution(outcome: Outcome) -> None:
    own = outcome.attribution.scores
    everywhere = torch.ones_like(own, dtype=torch.bool)
    some = everywhere.clone()
    some[..., 0] = False
    unknown = torch.where(some, -own, torch.nan)
    outcome.compared = {"b": Compared(own, everywhere), "a": Compared(unknown, some)}
    table = outcome_tables(outcome, ENCODER)["agreement"]
    assert table.schema.equals(OPTIONAL_TABLES["agreement"])
    found = [tuple(row.values()) for row in table.to_pylist()]
    # The third prompt's scores are all the same, and it has no coarse neuron.
    assert [row[:4] for row in found] == [
        (prompt.prompt_id, name, None if name == "a" or row == 2 else 1.0, n)
        for row, prompt in enumerate(outcome.prompts)
        for name, n in (("b", 6), ("a", 4))
    ]
    assert [row[4:] for row in found[:3]] == [(1.0, 1.0, 1.0), (-1.0, 1.0, 0.0), (1.0, 1.0, 1.0)]
    assert [row[4:] for row in found[4:6]] == [(None, 1.0, None)] * 2


def test_double_precision_results_are_kept_in_the_tables_precision(outcome: Outcome) -> None:
    a = outcome.attribution
    outcome.attribution = Attribution(
        *(
            part.double() if part.is_floating_point() else part
            for part in (
                a.scores, a.total, a.residual, a.probability, a.evaluations, a.rank, a.argmax,
                a.log_odds, a.activations,
            )
        )
    )  # fmt: skip
    assert rows(outcome, "prompts")[0][6] == 0.9


def test_groups_of_an_outcome_know_their_places_and_neurons(outcome: Outcome) -> None:
    places = {group.concept: place for group, place in outcome.groups()}
    assert places == {"kitten": slice(0, 2), "paris": slice(2, 3), "cat": slice(3, 4)}
    assert [tuple(n) for n in outcome.neurons(0)] == [(1, 0), (1, 2)]
    assert outcome.neurons(1) == []
    assert [p.prompt_id for p in outcome.prompts] == ["kitten/0", "kitten/2", "paris/0", "cat/1"]


@pytest.mark.parametrize(
    ("flags", "edit"),
    [
        (["--trainer.precision", "16-true", "--edit.factors", "[0,100000]"], "factor:100000 of"),
        (
            ["--trainer.precision", "16-true", "--edit.weights", "[update]"]
            + ["--edit.lambda_2", "1000000"],
            "update of",
        ),
    ],
)
def test_an_edit_without_a_value_is_no_result(tmp_path: Path, flags: list[str], edit: str) -> None:
    run = ("--run_dir", tmp_path / "run", "--data.max_groups", 2)
    line = refused(command("analyze.py", *run, *flags), "NaN", edit)
    assert "error: prompt " in line
    assert not list(tmp_path.glob("run/parts/0*"))
