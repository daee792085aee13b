"""Summary → the sentences: what was found, by which test, and what speaks against it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kn_lightning.report.caveats import caveats
from kn_lightning.report.wording import findings, pos_finding

from .runs import WriteRun, numbers_of, studied_tables

Numbers = dict[str, Any]


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_findings_name_the_tests_of_own_against_controls(rich_numbers: Numbers) -> None:
    suppress = plain(findings(rich_numbers)[0])
    assert "own prompts fall significantly further than these" in suppress
    assert "; random neurons, own prompts −" in suppress
    tests = "(Wilcoxon signed-rank test, n = 63, p < 0.001, rank-biserial r = −1.00 to −0."
    assert tests in suppress
    assert "No significant difference" not in suppress
    assert "own prompts rise significantly further" in findings(rich_numbers)[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"significant": False, "p_adjusted": 0.21, "effect_size": -0.1},
            "No significant difference from own prompts (median changes): random neurons, own "
            "prompts −1.3 % (Wilcoxon signed-rank test, n = 63, p = 0.210, rank-biserial r = "
            "−0.10).",
        ),
        (
            {"effect_size": 0.4, "p_adjusted": 0.004},
            "Significantly the other way round (median changes): random neurons, own prompts "
            "−1.3 % (Wilcoxon signed-rank test, n = 63, p = 0.004, rank-biserial r = 0.40).",
        ),
    ],
)
def test_control_that_own_does_not_surpass_is_named(
    rich_numbers: Numbers, change: dict[str, object], said: str
) -> None:
    numbers = copy.deepcopy(rich_numbers)
    for row in numbers["tests"]:
        if row["b"] == "random":
            row |= change
    assert said in plain(findings(numbers)[0])


def test_control_without_a_test_is_still_named(rich_numbers: Numbers) -> None:
    text = " ".join(findings(rich_numbers | {"tests": []}))
    assert "Median changes beside it, untested: other concepts' prompts −" in text
    assert "Wilcoxon" not in text


@pytest.mark.parametrize(
    ("difference", "said"),
    [(0.4, "differ significantly from verbs"), (0.0, "no significant difference between nouns")],
)
def test_nouns_against_others_in_either_case(
    make_run: WriteRun, environment: dict[str, Any], difference: float, said: str
) -> None:
    numbers = numbers_of(make_run(studied_tables(difference), environment))
    text = plain(pos_finding(numbers, "suppress"))
    assert said in text
    assert "nouns (n = 90)" in text
    assert "verbs, adjectives and adverbs (n = 90)" in text
    assert "Mann–Whitney U test: p " in text
    assert "Kolmogorov–Smirnov test: p " in text
    assert "rank-biserial r = " in text
    assert text in [plain(paragraph) for paragraph in findings(numbers)]


def test_without_parts_of_speech_nothing_is_said_of_them(numbers: Numbers) -> None:
    assert pos_finding(numbers, "suppress") == ""


def test_consistency_is_said_beside_chance(rich_numbers: Numbers) -> None:
    (text,) = (text for text in findings(rich_numbers) if text.startswith("Two wordings"))
    found = rich_numbers["consistency"]
    assert f"{found['mean']:.2f} [{found['mean_ci'][0]:.2f}, " in text
    assert text.endswith(f"prompts of two concepts {found['random_expectation']:.2f}.")


def test_negated_prompts_are_no_control_of_specificity(rich_numbers: Numbers) -> None:
    texts = [text for text in caveats(rich_numbers) if "say the opposite" in text]
    assert len(texts) == 2
    assert all("act on the word" in text for text in texts)


def test_prompts_that_chose_the_neurons_are_named(rich_numbers: Numbers) -> None:
    assert any("edit.holdout" in text for text in caveats(rich_numbers))
    numbers = copy.deepcopy(rich_numbers)
    numbers["environment"]["study"]["holdout"] = 0.5
    assert not any("edit.holdout" in text for text in caveats(numbers))


def test_nouns_that_one_test_alone_tells_from_others_are_said_to_be_so(
    make_run: WriteRun, environment: dict[str, Any]
) -> None:
    numbers = numbers_of(make_run(studied_tables(0.4), environment))
    for row in numbers["tests"]:
        row["significant"] = row["test"] == "kolmogorov_smirnov"
    text = plain(pos_finding(numbers, "suppress"))
    assert "one of two tests tells nouns (n = 90) from verbs" in text


@pytest.mark.parametrize("part", [None, 0, 0.5])
def test_prompts_that_were_held_out_are_said_to_be_so(numbers: Numbers, part: float | None) -> None:
    numbers["environment"]["study"]["holdout"] = part
    text = plain(" ".join(findings(numbers)))
    assert ("50.0 % of each concept's prompts, which were held out" in text) is bool(part)
