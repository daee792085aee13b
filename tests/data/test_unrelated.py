"""Unrelated and other prompts: whose they are, and that the draw depends on the concept alone."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from transformers import BertTokenizer

from kn_lightning.core.edits import seeded_generator
from kn_lightning.data.unrelated import UnrelatedPrompts
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import EncodedGroup, EncodedPrompt, Prompt, PromptGroup


def group(concept: str, *texts: str) -> EncodedGroup:
    """An encoded group; only its names and texts matter here."""
    prompts = (
        EncodedPrompt(f"{concept}/{i}", concept, text, None, (2, 4, 3), (1,), (9,))
        for i, text in enumerate(texts)
    )
    return EncodedGroup(concept, None, tuple(prompts))


def ids(prompts: Any) -> list[str]:
    """Their prompt ids."""
    return [prompt.prompt_id for prompt in prompts]


@pytest.fixture
def without_london() -> Encoder:
    """As much of an encoder as encoding needs; its vocabulary lacks london."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "is", "the", "a"]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    return cast("Any", SimpleNamespace(tokenizer=tokenizer, max_tokens=40))


CAT, DOG = group("cat", "c1", "c2"), group("dog", "d1", "c2")
ANT = group("ant", "a1")


@pytest.mark.parametrize("name", ["london", "London", "LONDON"])
def test_prompts_of_the_datas_own_london_come_first(bert: Encoder, name: str) -> None:
    london = group("London", "l1", "l2")
    prompts = UnrelatedPrompts(bert, [CAT, london, DOG], name)
    for concept in (CAT, DOG):
        assert ids(prompts.unrelated(concept)) == ["London/0", "London/1"]


def test_unrelated_prompts_that_are_none_of_the_studys_are_told(bert: Encoder) -> None:
    assert UnrelatedPrompts(bert, [CAT, DOG], "dog").foreign_texts() == []
    assert "[MASK] is the capital of england." in (
        UnrelatedPrompts(bert, [CAT, DOG], "london").foreign_texts()
    )
    given = UnrelatedPrompts(bert, [CAT, DOG], "dog", texts=["a [MASK] barks."])
    assert given.foreign_texts() == ["a [MASK] barks."]


def test_shipped_london_stands_in_where_the_data_has_none(bert: Encoder) -> None:
    found = UnrelatedPrompts(bert, [CAT, DOG], "london").unrelated(CAT)
    assert len(found) >= 4
    assert len({prompt.text for prompt in found}) == len(found)
    (answer,) = {prompt.answers[0] for prompt in found}
    assert bert.tokenizer.convert_ids_to_tokens(answer) == "london"
    for prompt in found:
        assert prompt.text.count("[MASK]") == 1
        assert "london" not in prompt.text.lower()
        assert prompt.input_ids[prompt.mask_positions[0]] == bert.tokenizer.mask_token_id


def test_given_prompts_may_have_an_answer_of_several_tokens(bert: Encoder) -> None:
    texts = ["[MASK] is small.", "a [MASK]."]
    given = UnrelatedPrompts(bert, [CAT, DOG], "young cat", texts=texts, several=True)
    assert [len(prompt.answers) for prompt in given.unrelated(CAT)] == [2, 2]
    with pytest.raises(InputError, match="'young cat' .*: the answer is 2 tokens, not one"):
        UnrelatedPrompts(bert, [CAT, DOG], "young cat", texts=texts)


def test_left_out_prompts_may_have_an_answer_of_several_tokens(bert: Encoder) -> None:
    beyond = [PromptGroup("young cat", (Prompt("[MASK] is small."),))]
    found = UnrelatedPrompts(bert, [CAT, DOG], "young cat", beyond, several=True)
    assert [len(prompt.answers) for prompt in found.unrelated(CAT)] == [2]


def test_first_concept_that_shares_no_prompt_stands_in_for_an_unknown_london(
    without_london: Encoder,
) -> None:
    prompts = UnrelatedPrompts(without_london, [CAT, DOG, ANT], "london")
    assert ids(prompts.unrelated(ANT)) == ids(CAT.prompts)
    assert ids(prompts.unrelated(CAT)) == ids(ANT.prompts)  # dog shares c2
    assert ids(prompts.unrelated(DOG)) == ids(ANT.prompts)


def test_any_concept_of_the_data_can_be_the_unrelated_one(bert: Encoder) -> None:
    prompts = UnrelatedPrompts(bert, [CAT, ANT, DOG], "ant")
    assert ids(prompts.unrelated(DOG)) == ["ant/0"]


def test_unrelated_prompts_are_never_the_concepts_own(bert: Encoder) -> None:
    london = group("london", "l1", "l2")
    prompts = UnrelatedPrompts(bert, [london, CAT, ANT], "london")
    assert ids(prompts.unrelated(london)) == ids(CAT.prompts)
    # A concept with one of london's prompts isn't unrelated to it.
    town = group("town", "l2", "t1")
    prompts = UnrelatedPrompts(bert, [london, town, CAT], "london")
    assert ids(prompts.unrelated(town)) == ids(CAT.prompts)


def test_no_unrelated_prompt_where_all_concepts_share_one(without_london: Encoder) -> None:
    prompts = UnrelatedPrompts(without_london, [CAT, DOG], "london")
    assert prompts.unrelated(CAT) == ()


MANY = [group(f"g{i}", *(f"p{i}.{j}" for j in range(5))) for i in range(30)]


def drawn(groups: list[EncodedGroup], concept: str, count: int, seed: int = 0) -> list[str]:
    """What is drawn for a concept, as the edits draw it."""
    prompts = UnrelatedPrompts(cast("Any", None), groups, groups[0].concept)
    own = next(one for one in groups if one.concept == concept)
    return ids(prompts.others(own, count, seeded_generator(seed, concept)))


def test_others_are_distinct_prompts_of_other_concepts() -> None:
    for concept in ("g0", "g17", "g29"):
        found = drawn(MANY, concept, 8)
        assert len(set(found)) == 8
        assert not any(prompt_id.startswith(concept + "/") for prompt_id in found)
    assert drawn(MANY, "g3", 0) == []


def test_draw_depends_on_concept_and_seed_and_on_nothing_drawn_before() -> None:
    alone = drawn(MANY, "g5", 8)
    prompts = UnrelatedPrompts(cast("Any", None), MANY, MANY[0].concept)
    for one in reversed(MANY):
        found = ids(prompts.others(one, 8, seeded_generator(0, one.concept)))
        if one.concept == "g5":
            assert found == alone
    assert drawn(MANY, "g6", 8) != alone
    assert drawn(MANY, "g5", 8, seed=1) != alone
    # More of them begin with the same ones: a larger sample refines a smaller one.
    assert drawn(MANY, "g5", 20)[:8] == alone


def test_all_other_concepts_have_their_chance() -> None:
    counts = Counter(
        prompt_id.split("/")[0] for seed in range(200) for prompt_id in drawn(MANY, "g0", 10, seed)
    )
    assert counts.keys() == {f"g{i}" for i in range(1, 30)}
    # 2000 draws over 29 concepts: 69 each, standard deviation 8.
    assert min(counts.values()) > 69 - 5 * 8
    assert max(counts.values()) < 69 + 5 * 8


def test_prompt_that_the_concept_has_too_is_no_other() -> None:
    for seed in range(20):
        assert drawn([CAT, DOG, ANT], "cat", 8, seed=seed) in (
            ["dog/0", "ant/0"],
            ["ant/0", "dog/0"],
        )


def test_fewer_others_than_asked_are_all_there_are() -> None:
    assert sorted(drawn([CAT, ANT, group("bee", "b1", "b2")], "cat", 50)) == [
        "ant/0",
        "bee/0",
        "bee/1",
    ]
    assert drawn([CAT], "cat", 5) == []


def test_prompts_shared_by_many_concepts_take_no_places_in_the_sample() -> None:
    # "s" is a prompt of all eleven; each has one of its own. Ten others are to be had.
    groups = [group(f"g{i}", "s", f"own {i}") for i in range(11)]
    for seed in range(20):
        found = drawn(groups, "g0", 10, seed=seed)
        assert sorted(found) == sorted(f"g{i}/1" for i in range(1, 11))


def test_order_of_the_source_is_all_that_a_generator_sees() -> None:
    prompts = UnrelatedPrompts(cast("Any", None), MANY, MANY[0].concept)
    one = ids(prompts.others(MANY[4], 6, np.random.default_rng(3)))
    two = ids(prompts.others(MANY[4], 6, np.random.default_rng(3)))
    assert one == two
