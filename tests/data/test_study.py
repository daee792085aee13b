"""Groups of a source become a study: merged, encoded, and cut into packs."""

from __future__ import annotations

from itertools import chain

import pytest

from kn_lightning.data.dealing import PackCost, dealt_packs, dearest_first
from kn_lightning.data.study import make_study, merged_groups, planned_packs
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import EncodedGroup, EncodedPrompt, Prompt, PromptGroup


def group(concept: str, *texts: str, pos: str | None = None) -> PromptGroup:
    """A group of these prompts."""
    return PromptGroup(concept, tuple(map(Prompt, texts)), pos)


def sized(concept: str, *lengths: int) -> EncodedGroup:
    """An encoded group whose prompts have these numbers of tokens."""
    prompts = (
        EncodedPrompt(f"{concept}/{i}", concept, str(i), None, (7,) * length, (0,), (0,))
        for i, length in enumerate(lengths)
    )
    return EncodedGroup(concept, None, tuple(prompts))


def test_lines_of_one_concept_are_one_group_without_repetitions() -> None:
    merged = merged_groups(
        [
            group("cat", "a [MASK].", "b [MASK].", "a [MASK]."),
            group("dog", "a [MASK].", pos="noun"),
            group("cat", "c [MASK].", "b [MASK].", pos="noun"),
            group("ant", "d [MASK]."),
        ]
    )
    assert merged == [
        group("cat", "a [MASK].", "b [MASK].", "c [MASK].", pos="noun"),
        group("dog", "a [MASK].", pos="noun"),
        group("ant", "d [MASK]."),
    ]


def test_first_relation_and_part_of_speech_are_kept() -> None:
    first = PromptGroup("cat", (Prompt("a [MASK].", "IsA"),), "noun")
    second = PromptGroup("cat", (Prompt("a [MASK].", "HasA"),), "verb")
    assert merged_groups([first, second]) == [first]


@pytest.mark.parametrize(
    ("budget", "packs"),
    [
        # a: 5+5 = 10 tokens, b: 4, c: 30, d: 6, e: 6
        (14, ["ab", "c", "de"]),
        (13, ["a", "b", "c", "de"]),
        (11, ["a", "b", "c", "d", "e"]),
        (46, ["abc", "de"]),
        (50, ["abcd", "e"]),
        (1, ["a", "b", "c", "d", "e"]),
        (10**9, ["abcde"]),
    ],
)
def test_packs_are_runs_of_whole_groups_within_the_budget(budget: int, packs: list[str]) -> None:
    groups = [sized("a", 5, 5), sized("b", 4), sized("c", 30), sized("d", 6), sized("e", 1, 5)]
    planned = planned_packs(groups, budget)
    assert ["".join(g.concept for g in pack.groups) for pack in planned] == packs
    assert [pack.number for pack in planned] == list(range(len(packs)))
    assert list(chain(*(pack.groups for pack in planned))) == groups


def test_packs_of_a_large_study_grow_smaller_towards_its_end() -> None:
    # 40 packs' worth, of groups of 10 tokens.
    packs = planned_packs([sized(str(n), 10) for n in range(320)], 80)
    sizes = [pack.tokens for pack in packs]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (30, 10)  # a 96th of all, an eighth of the budget
    assert sum(sizes) == 3200
    assert [g.concept for pack in packs for g in pack.groups] == [str(n) for n in range(320)]


def test_dear_packs_are_dealt_first_and_each_to_the_rank_with_least() -> None:
    packs = planned_packs([sized(str(n), n) for n in (10, 500, 20, 300, 200, 30)], 1)
    cost = PackCost()
    # With 300 for a pack's start and 40 for a concept's edits: 350, 840, 360, 640, 540, 370.
    two = dealt_packs(packs, 2, cost)
    assert [[pack.number for pack in own] for own in two] == [[0, 1, 5], [2, 3, 4]]
    assert [sum(map(cost, own)) for own in two] == [1560, 1540]
    many = dealt_packs(packs, 8, cost)
    assert sorted(len(own) for own in many) == [0, 0, 1, 1, 1, 1, 1, 1]
    assert [pack.number for pack in dearest_first(packs, cost)] == [1, 3, 4, 5, 2, 0]


def test_a_pack_is_dearer_where_its_neurons_are_measured_on_many_foreign_prompts() -> None:
    packs = planned_packs([sized(str(n), 10, 10) for n in range(4)], 40)
    assert [[g.concept for g in pack.groups] for pack in packs] == [["0", "1"], ["2", "3"]]
    cost = PackCost({"0": 50, "2": 1000, "3": 100})
    assert [cost.borrowed_tokens(pack) for pack in packs] == [50, 1100]
    assert list(map(cost, packs)) == pytest.approx([300 + 40 + 80 + 6, 300 + 40 + 80 + 132])
    assert [pack.number for pack in dearest_first(packs, cost)] == [1, 0]


def test_study_has_its_groups_in_order_its_packs_and_what_was_skipped(bert: Encoder) -> None:
    groups = [
        group("kitten", "[MASK] is small.", "a [MASK].", pos="noun"),
        group("zebra", "[MASK] is small."),
        group("paris", "the capital of france is [MASK].", "[MASK]s."),
    ]
    study = make_study(bert, groups, 7)
    assert [g.concept for g in study.groups] == ["kitten", "paris"]
    assert study.groups[0].pos == "noun"
    # 6 + 5 tokens, then 9: each alone exceeds 7, and neither is cut.
    assert [[g.concept for g in pack.groups] for pack in study.packs] == [["kitten"], ["paris"]]
    assert [(skip.concept, skip.prompt) for skip in study.skipped] == [
        ("zebra", None),
        ("paris", "[MASK]s."),
    ]


def test_answers_of_several_tokens_are_studied_where_they_are_asked_for(bert: Encoder) -> None:
    groups = [group("kitten", "[MASK] is small."), group("young cat", "a [MASK].", "a [MASK]s.")]
    single, multi = make_study(bert, groups, 100), make_study(bert, groups, 100, several=True)
    assert [g.concept for g in single.groups] == ["kitten"]
    assert [skip.reason for skip in single.skipped] == [
        "the answer is 2 tokens, not one",
        "the answer merges with the words around it",
    ]
    assert [g.concept for g in multi.groups] == ["kitten", "young cat"]
    assert [(skip.concept, skip.prompt) for skip in multi.skipped] == [("young cat", "a [MASK]s.")]
    assert multi.groups[0] == single.groups[0]
    assert (single.several, multi.several) == (False, True)


def test_hash_tells_whether_the_data_are_the_same(bert: Encoder) -> None:
    one = group("kitten", "[MASK] is small.", "a [MASK].")
    two = group("puppy", "[MASK] is small.")
    same = make_study(bert, [one, two], 7).sha256
    assert make_study(bert, [one, two], 100).sha256 == same
    others = [
        [two, one],
        [one],
        [group("kitten", "[MASK] is small.", "a [MASK].", pos="noun"), two],
        [group("kitten", "a [MASK].", "[MASK] is small."), two],
        [group("kitten", "[MASK] is small.", "A [MASK]."), two],
        [PromptGroup("kitten", (Prompt("[MASK] is small.", "IsA"), *one.prompts[1:])), two],
    ]
    hashes = {make_study(bert, other, 7).sha256 for other in others}
    assert len(hashes) == len(others)
    assert same not in hashes


def test_nothing_left_to_study_is_refused_with_the_first_reason(bert: Encoder) -> None:
    with pytest.raises(InputError, match=r"of 2; the first: 'zebra': .*not in the vocabulary"):
        make_study(bert, [group("zebra", "a [MASK]."), group("playing", "a [MASK].")], 100)
