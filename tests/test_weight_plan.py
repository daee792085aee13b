"""Which weight edits are planned: their neurons, prompts and answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from kn_lightning.core.weights import Erase, Update
from kn_lightning.data.encoding import encode_group
from kn_lightning.data.study import Study
from kn_lightning.edit_plan import EditPlan, EditSettings
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import EncodedGroup, Neuron, Prompt, PromptGroup
from kn_lightning.weight_plan import MOST_UNRELATED, WeightPlan

SETTINGS = EditSettings(
    factors=[0.0],
    unrelated="london",
    unrelated_prompts=None,
    others=2,
    control_seeds=2,
    controls=[],
    holdout=0.5,
    max_prompts=None,
    seed=0,
    weights=["update", "erase_zero", "erase_unk"],
    lambda_1=0.5,
    lambda_2=3.0,
)
NEURONS = [Neuron(0, 3), Neuron(2, 5), Neuron(2, 6)]
WORDS = ("cat", "dog", "sheep", "cow", "horse", "barn", "farm", "river", "bank", "fur", "milk")


def group(encoder: Encoder, concept: str, *texts: str) -> EncodedGroup:
    encoded, _ = encode_group(encoder, PromptGroup(concept, tuple(map(Prompt, texts))))
    assert encoded is not None
    return encoded


@pytest.fixture
def study(bert: Encoder) -> Study:
    """Three concepts, one of them the unrelated one, with many prompts."""
    groups = (
        group(bert, "kitten", *(f"a [MASK] is a young {word}." for word in WORDS[:4])),
        group(bert, "rome", "[MASK] is the capital of italy."),
        group(bert, "london", *(f"the {word} of [MASK]." for word in WORDS)),
    )
    return Study(groups, (), (), "")


def test_every_edit_is_planned_with_the_neurons_and_with_each_draw(
    bert: Encoder, study: Study
) -> None:
    planned = WeightPlan(bert, study, SETTINGS).of(study.groups[0], NEURONS)
    names = [(state.name, state.source) for state in planned.states]
    sources = ("knowledge", "random:0", "random:1")
    assert names == [(name, source) for name in SETTINGS.weights for source in sources]
    draws = dict(EditPlan(bert, study, SETTINGS).random_controls(study.groups[0], NEURONS))
    for state in planned.states:
        assert list(state.neurons) == draws.get(state.source, NEURONS)
        assert (state.target is None) == (state.name != "update")
    by_name = {state.name: state.edit for state in planned.states}
    assert by_name["erase_zero"] == Erase()
    assert by_name["erase_unk"] == Erase(bert.tokenizer.unk_token_id)
    old, new = bert.tokenizer.convert_tokens_to_ids(["kitten", str(planned.states[0].target)])
    assert by_name["update"] == Update(old, new, 0.5, 3.0)


def test_prompts_are_those_of_the_other_edits_and_those_refined_on(
    bert: Encoder, study: Study
) -> None:
    planned = WeightPlan(bert, study, SETTINGS).of(study.groups[0], NEURONS)
    assert Counter(planned.kinds) == {
        "related": 2,
        "held_out": 2,
        "unrelated": MOST_UNRELATED,
        "other": 2,
    }
    edits = EditPlan(bert, study, SETTINGS)
    held = edits.held_out(study.groups[0]).tolist()
    found = {
        kind: [p for p, k in zip(planned.prompts, planned.kinds, strict=True) if k == kind]
        for kind in planned.kinds
    }
    own = study.groups[0].prompts
    assert found["held_out"] == [p for p, out in zip(own, held, strict=True) if out]
    assert found["related"] == [p for p, out in zip(own, held, strict=True) if not out]
    assert found["other"] == edits.others(study.groups[0])
    assert set(found["unrelated"]) < set(study.groups[2].prompts)
    few = WeightPlan(bert, study, replace(SETTINGS, max_prompts=1)).of(study.groups[0], NEURONS)
    assert Counter(few.kinds)["related"] == Counter(few.kinds)["held_out"] == 1


def test_all_concepts_have_the_same_unrelated_prompts(bert: Encoder, study: Study) -> None:
    plan = WeightPlan(bert, study, SETTINGS)
    found = []
    for own in study.groups[:2]:
        planned = plan.of(own, NEURONS)
        pairs = zip(planned.prompts, planned.kinds, strict=True)
        found.append([prompt for prompt, kind in pairs if kind == "unrelated"])
    assert found[0] == found[1]


def test_new_answers_have_no_token_where_they_are_the_prompts_own(
    bert: Encoder, study: Study
) -> None:
    planned = WeightPlan(bert, study, SETTINGS).of(study.groups[0], NEURONS)
    target = planned.states[0].target
    for prompt, token in zip(planned.prompts, planned.targets, strict=True):
        assert (token is None) == (prompt.concept == target)


def test_without_an_update_there_is_no_new_answer(bert: Encoder, study: Study) -> None:
    plan = WeightPlan(bert, study, replace(SETTINGS, weights=["erase_zero"]))
    planned = plan.of(study.groups[0], NEURONS)
    assert planned.targets == []
    assert {state.target for state in planned.states} == {None}


def test_a_concept_without_a_new_answer_has_no_update_alone(bert: Encoder) -> None:
    shared = "a [MASK] is small."
    groups = (group(bert, "kitten", shared), group(bert, "puppy", shared))
    plan = WeightPlan(bert, Study(groups, (), (), ""), SETTINGS)
    planned = plan.of(groups[0], NEURONS)
    assert {state.name for state in planned.states} == {"erase_zero", "erase_unk"}


def test_a_study_of_one_word_cannot_be_updated(bert: Encoder) -> None:
    groups = (group(bert, "kitten", "a [MASK] is small."), group(bert, "Kitten", "[MASK]."))
    study = Study(groups, (), (), "")
    with pytest.raises(InputError, match="edit.weights update: the study has one concept"):
        WeightPlan(bert, study, SETTINGS)
    WeightPlan(bert, study, replace(SETTINGS, weights=["erase_zero"]))
