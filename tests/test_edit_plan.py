"""Who is a stranger to whom, and what that costs."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import torch

from kn_lightning.callbacks.edit import EditCallback
from kn_lightning.data.study import Study, planned_packs
from kn_lightning.edit_plan import EditPlan, EditSettings, borrowed_tokens
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.module import MaskedLanguageModel
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


def sized(concept: str, n_prompts: int) -> EncodedGroup:
    """A concept with so many prompts of three tokens."""
    return EncodedGroup(concept, None, group(concept, 0).prompts * n_prompts)


def test_tokens_are_those_of_the_prompts_that_foreign_rows_have(bert: Encoder) -> None:
    groups = tuple(sized(name, n) for n, name in enumerate(("kitten", "puppy", "milk"), start=4))
    for settings in (SETTINGS, replace(SETTINGS, max_prompts=5), replace(SETTINGS, holdout=0.5)):
        plan = EditPlan(bert, Study(groups, (), (), ""), settings)
        found = {
            lender.concept: sum(
                len(row.prompt.input_ids)
                for row in plan.rows(lender, [Neuron(0, 1)], torch.zeros(len(lender.prompts), 2, 4))
                if row.source == "foreign"
            )
            for lender in groups
        }
        assert borrowed_tokens(groups, settings) == found
        assert all(found.values())
    assert borrowed_tokens(groups, replace(SETTINGS, controls=[])) == {}


def test_packs_are_shared_out_by_what_edits_cost_too() -> None:
    groups = tuple(sized(name, n) for n, name in enumerate(("kitten", "puppy", "milk"), start=4))
    trainer, module = mock.Mock(), mock.Mock(spec=MaskedLanguageModel)
    trainer.datamodule.study = Study(groups, (), planned_packs(groups, 1), "")
    module.encoder = mock.Mock(structure=mock.Mock(n_neurons=8))
    callback = EditCallback()
    callback.setup(trainer, module, "predict")
    tokens = borrowed_tokens(groups, callback.settings)
    cost = trainer.datamodule.cost
    assert [cost.borrowed_tokens(pack) for pack in trainer.datamodule.study.packs] == [
        tokens[g.concept] for g in groups
    ]
    assert sorted(tokens.values()) == [12, 15, 18]
