"""Summary → the sentences of what speaks against reading too much into it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kn_lightning.report.caveats import caveats

from .runs import plain

Numbers = dict[str, Any]


def caveats_of(numbers: Numbers, control: str, **values: object) -> list[str]:
    """The caveats of suppression where its one control has these values."""
    (row,) = (
        row for row in numbers["controls"] if (row["edit"], row["control"]) == ("suppress", control)
    )
    without = caveats(numbers | {"controls": []})
    found = caveats(numbers | {"controls": [row | values]})
    return [plain(text) for text in found if text not in without]


@pytest.mark.parametrize("reading", ["as_much", "notable", "unclear"])
def test_a_control_is_named_with_its_number_of_pairs(rich_numbers: Numbers, reading: str) -> None:
    (text,) = caveats_of(rich_numbers, "random", reading=reading, n_pairs=17)
    assert "17 concepts" in text


@pytest.mark.parametrize("control", ["random", "negated"])
@pytest.mark.parametrize("reading", [None, "less"])
def test_a_control_without_a_reading_gives_no_caveat(
    rich_numbers: Numbers, control: str, reading: str | None
) -> None:
    assert caveats_of(rich_numbers, control, reading=reading) == []


def test_negated_prompts_are_no_control_of_specificity(rich_numbers: Numbers) -> None:
    texts = [plain(text) for text in caveats(rich_numbers) if "say the opposite" in text]
    assert len(texts) == 2
    for text in texts:
        assert "63 concepts; Wilcoxon signed-rank test of one against the other: adjusted p" in text
        assert "may act on the word" in text


def test_negated_prompts_that_move_the_other_way_say_nothing_of_the_word(
    rich_numbers: Numbers,
) -> None:
    assert caveats_of(rich_numbers, "negated", reading="as_much", control_median=0.4) == []
    assert len(caveats_of(rich_numbers, "negated", reading="as_much", control_median=-0.4)) == 1


def test_prompts_that_chose_the_neurons_are_named(rich_numbers: Numbers) -> None:
    assert any("edit.holdout" in text for text in caveats(rich_numbers))
    numbers = copy.deepcopy(rich_numbers)
    numbers["environment"]["study"]["holdout"] = 0.5
    assert not any("edit.holdout" in text for text in caveats(numbers))


def test_neurons_from_elsewhere_were_chosen_by_nothing_of_this_study(rich_numbers: Numbers) -> None:
    numbers = copy.deepcopy(rich_numbers)
    numbers["environment"]["study"] |= {"neurons": "mine.json", "holdout": 0}
    said = [plain(text) for text in caveats(numbers)]
    assert not any("from which the neurons were chosen" in text for text in said)
    (text,) = (text for text in said if "mine.json" in text)
    assert "have chosen none of them" in text


def test_concepts_that_the_model_never_guesses_are_counted(rich_numbers: Numbers) -> None:
    numbers = rich_numbers | {"known": rich_numbers["known"] | {"concepts_never_guessed": 0}}
    without = caveats(numbers)
    numbers["known"]["concepts_never_guessed"] = 3
    (text,) = (plain(text) for text in caveats(numbers) if text not in without)
    assert text.startswith(f"Of 3 of {numbers['counts']['concepts']} concepts no prompt has")


def test_unrelated_prompts_that_stand_in_no_table_are_quoted(rich_numbers: Numbers) -> None:
    numbers = copy.deepcopy(rich_numbers)
    numbers["environment"]["study"]["unrelated_prompts"] = []
    without = caveats(numbers)
    numbers["environment"]["study"]["unrelated_prompts"] = ["a [MASK]", "b", "c", "d", "e"]
    (text,) = (plain(text) for text in caveats(numbers) if text not in without)
    assert " has 5 prompts that are none" in text
    assert text.endswith(
        "to begin with: “a [MASK]”; “b”; “c”; “d”. Whether they are unrelated to its concepts is "
        "for the reader to judge."
    )


def test_ablated_candidates_that_may_not_suffice_are_counted(rich_numbers: Numbers) -> None:
    def said(ablated: dict[str, int] | None) -> list[str]:
        return [plain(text) for text in caveats(rich_numbers | {"ablated": ablated})]

    assert said({"candidates": 64, "n": 9, "n_crowded": 0}) == said(None)
    found = said({"candidates": 64, "n": 9, "n_crowded": 2})
    (text,) = (text for text in found if text not in said(None))
    assert "each prompt 64 neurons" in text
    assert "In 2 of 9 prompts" in text
