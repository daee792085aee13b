"""Who is a stranger to whom."""

from __future__ import annotations

import torch

from kn_lightning.data.study import Study
from kn_lightning.edit_plan import EditPlan, EditSettings
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import EncodedGroup, EncodedPrompt, Neuron

SETTINGS = EditSettings(
    factors=[0.0],
    unrelated="london",
    unrelated_prompts=None,
    others=0,
    control_seeds=0,
    controls=["foreign"],
    holdout=0.0,
    max_prompts=None,
    seed=0,
)


def group(concept: str, number: int) -> EncodedGroup:
    prompt = EncodedPrompt(
        f"{concept}/0", concept, f"a [MASK] {number}.", None, (1, 2, 3), (1,), (5,)
    )
    return EncodedGroup(concept, None, (prompt,))


def foreign(bert: Encoder, *concepts: str) -> dict[str, str]:
    """Who is measured with whose neurons."""
    groups = tuple(group(concept, number) for number, concept in enumerate(concepts))
    plan = EditPlan(bert, Study(groups, (), (), ""), SETTINGS)
    return {
        row.concept: lender.concept
        for lender in groups
        for row in plan.rows(lender, [Neuron(0, 1)], torch.zeros(1, 2, 4))
        if row.source == "foreign"
    }


def test_every_concept_is_measured_with_another_ones_neurons(bert: Encoder) -> None:
    names = ("kitten", "puppy", "milk", "wool", "paris")
    lenders = foreign(bert, *names)
    assert sorted(lenders) == sorted(lenders.values()) == sorted(names)
    assert all(lender != borrower for borrower, lender in lenders.items())


def test_a_word_is_no_stranger_to_itself_in_capitals(bert: Encoder) -> None:
    assert foreign(bert, "kitten", "Kitten") == {}
    assert foreign(bert, "kitten") == {}
