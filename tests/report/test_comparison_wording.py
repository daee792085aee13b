"""Summary → the sentences of tests: own beside its controls, nouns beside other words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kn_lightning.report.captions import captions
from kn_lightning.report.comparison_wording import pos_finding
from kn_lightning.report.language import speaking
from kn_lightning.report.wording import findings

from .runs import WriteRun, numbers_of, plain, studied_tables

Numbers = dict[str, Any]


def test_findings_name_the_tests_of_own_against_controls(rich_numbers: Numbers) -> None:
    suppress = plain(findings(rich_numbers)[0])
    assert "own prompts fall significantly further than these" in suppress
    assert "; random neurons, own prompts −" in suppress
    tests = "(Wilcoxon signed-rank test, n = 63, adjusted p < 0.001, rank-biserial r = −1.00 to −0."
    assert tests in suppress
    assert "No significant difference" not in suppress
    assert "own prompts rise significantly further" in findings(rich_numbers)[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"significant": False, "p_adjusted": 0.21, "effect_size": -0.1},
            "No significant difference from own prompts (median changes): random neurons, own "
            "prompts −1.3 % (Wilcoxon signed-rank test, n = 63, adjusted p = 0.210, rank-biserial "
            "r = −0.10).",
        ),
        (
            {"effect_size": 0.4, "p_adjusted": 0.004},
            "Significantly the other way round (median changes): random neurons, own prompts "
            "−1.3 % (Wilcoxon signed-rank test, n = 63, adjusted p = 0.004, rank-biserial r = "
            "0.40).",
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
    text = " ".join(findings(rich_numbers | {"tests": [], "values": {}}))
    assert "untested with fewer than 5 concepts: other concepts' prompts −" in text
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
    assert "Mann–Whitney U test: adjusted p " in text
    assert "Kolmogorov–Smirnov test: adjusted p " in text
    assert "rank-biserial r = " in text
    assert text in [plain(paragraph) for paragraph in findings(numbers)]


def test_without_parts_of_speech_nothing_is_said_of_them(numbers: Numbers) -> None:
    assert pos_finding(numbers | {"by_pos": []}, "suppress") == ""


def test_too_few_of_a_part_of_speech_are_said_to_be_so_once(
    make_run: WriteRun, environment: dict[str, Any]
) -> None:
    tables = studied_tables(0.4, n_each=2)
    few = {row["concept"] for row in tables["prompts"] if row["pos"] in ("verb", "adverb")}
    tables["edits"] = [row for row in tables["edits"] if row["concept"] not in few]
    tables["edits"] += [row | {"edit": "amplify"} for row in tables["edits"]]
    numbers = numbers_of(make_run(tables, environment))
    said = (
        "Nouns were not compared with verbs, adjectives and adverbs: n = 6 and 2, at least 5 of "
        "each are needed."
    )
    assert findings(numbers).count(said) == 1
    for edit in ("suppress", "amplify"):
        assert captions(numbers)[f"{edit}_by_pos"].reading.endswith(said)


def test_nouns_that_one_test_alone_tells_from_others_are_said_to_be_so(
    make_run: WriteRun, environment: dict[str, Any]
) -> None:
    numbers = numbers_of(make_run(studied_tables(0.4), environment))
    for row in numbers["tests"]:
        row["significant"] = row["test"] == "kolmogorov_smirnov"
    text = plain(pos_finding(numbers, "suppress"))
    assert "one of two tests tells nouns (n = 90) from verbs" in text


@pytest.mark.usefixtures("rich_run_ja")  # which skips without a font
def test_japanese_lists_and_p_values(rich_numbers: Numbers) -> None:
    with speaking("ja"):
        beside = plain(findings(rich_numbers)[0])
        nouns = plain(pos_finding(rich_numbers, "suppress"))
    assert "; " not in beside + nouns
    assert "；ランダムなニューロン、関連プロンプト −" in beside
    assert "（Wilcoxon の符号付き順位検定、n = 63、補正 p 値 < 0.001、順位双列相関 r = " in beside
    assert "；Kolmogorov–Smirnov 検定：補正 p 値 < 0.001、統計量 D = " in nouns
