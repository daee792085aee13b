"""New answers: never the old one, drawn from the same relation, by the concept's name alone."""

from __future__ import annotations

from collections.abc import Sequence

from kn_lightning.data.encoding import encode_group
from kn_lightning.data.new_answers import NewAnswers, answer_tokens, new_answer
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import EncodedGroup, Prompt, PromptGroup

GROUPS = {
    "paris": ["the capital of france is [MASK].", "[MASK] is the capital of france."],
    "rome": ["the capital of italy is [MASK]."],
    "london": ["the capital of england is [MASK]."],
    "kitten": ["a [MASK] is a young cat."],
    "puppy": ["a [MASK] is a young dog."],
    "milk": ["[MASK] of a cow."],
    "wool": ["[MASK] of a sheep."],
}
CAPITALS, YOUNG = {"paris", "rome", "london"}, {"kitten", "puppy"}


def groups(encoder: Encoder, names: Sequence[str] = tuple(GROUPS)) -> list[EncodedGroup]:
    """Some of them as the encoder reads them; milk and wool have no relation."""
    found = []
    for name in names:
        relation = "capital" if name in CAPITALS else "young" if name in YOUNG else None
        prompts = tuple(Prompt(text, relation) for text in GROUPS[name.lower()])
        encoded, skipped = encode_group(encoder, PromptGroup(name, prompts))
        assert not skipped
        assert encoded is not None
        found.append(encoded)
    return found


def drawn(encoder: Encoder, seed: int, study: list[EncodedGroup]) -> dict[str, str | None]:
    answers = NewAnswers(encoder, study, seed)
    found = {group.concept: answers.of(group) for group in study}
    return {concept: answer and answer.concept for concept, answer in found.items()}


def test_a_new_answer_is_another_concept_with_the_same_relation(bert: Encoder) -> None:
    study = groups(bert)
    seen: dict[str, set[str | None]] = {}
    for seed in range(12):
        for concept, new in drawn(bert, seed, study).items():
            assert new != concept
            seen.setdefault(concept, set()).add(new)
    assert seen["paris"] == CAPITALS - {"paris"}
    assert seen["kitten"] == {"puppy"}
    assert len(seen["milk"]) > 3  # without a relation: from all


def test_the_draw_depends_on_the_study_and_not_on_who_asks_first(bert: Encoder) -> None:
    study = groups(bert)
    forward = NewAnswers(bert, study, 3)
    backward = NewAnswers(bert, study, 3)
    first = [forward.of(group) for group in study]
    assert [backward.of(group) for group in reversed(study)] == first[::-1]


def test_a_word_in_capitals_is_no_new_answer_to_itself(bert: Encoder) -> None:
    assert drawn(bert, 0, groups(bert, ("kitten", "Kitten"))) == {"kitten": None, "Kitten": None}
    assert drawn(bert, 0, groups(bert, ("kitten",))) == {"kitten": None}


def test_a_concept_that_shares_a_prompt_is_an_old_answer_and_no_new_one(bert: Encoder) -> None:
    prompts = (Prompt("a [MASK] is small."), Prompt("the [MASK] is young."))
    both = [
        encode_group(bert, PromptGroup("kitten", prompts))[0],
        encode_group(bert, PromptGroup("lamb", prompts[1:]))[0],
    ]
    assert drawn(bert, 0, [group for group in both if group]) == {"kitten": None, "lamb": None}


def test_tokens_are_those_at_each_prompts_place(roberta: Encoder) -> None:
    study = groups(roberta, ("rome", "kitten"))
    texts = ["the capital of italy is [MASK].", "[MASK] is the capital of italy."]
    group, _ = encode_group(roberta, PromptGroup("rome", tuple(map(Prompt, texts))))
    assert group is not None
    tokens = answer_tokens(roberta, group.prompts, "kitten")
    pieces = roberta.tokenizer.convert_ids_to_tokens([token for token in tokens if token])
    assert pieces == ["Ġkitten", "kitten"]
    assert answer_tokens(roberta, group.prompts, "zyzzyva") == [None, None]
    # Each as often: the first of them.
    answer = new_answer(roberta, group.prompts, "kitten")
    assert answer is not None
    assert (answer.old, answer.new) == (group.prompts[0].answers[0], tokens[0])
    assert new_answer(roberta, group.prompts, "zyzzyva") is None
    assert study[0].concept == "rome"
