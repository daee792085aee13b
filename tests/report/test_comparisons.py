"""Changes drawn with and without a planted difference → what the tests find."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from kn_lightning.report import comparisons, statistics
from kn_lightning.report.summary import as_json

from .runs import WriteRun, numbers_of, studied_tables

REST = "verb/adjective/adverb"
N_NOUNS, N_REST = 60, 15
"""Nouns, and concepts of each of the three other parts of speech."""
RUNS = 200


def part_of_speech() -> pd.Series:
    """Of every concept; one has none."""
    names = ["noun"] * N_NOUNS + [part for part in comparisons.REST for _ in range(N_REST)]
    parts: list[str | None] = [*names, "other", None]
    return pd.Series(parts, index=[f"c{place}" for place in range(len(parts))])


def changes(own: dict[str, Any], control: dict[str, Any] | None = None) -> pd.DataFrame:
    """Rows of ``relative_changes``; of own and random neurons, values by concept for each edit."""
    frames = [
        pd.DataFrame({"edit": edit, "kind": kind, "concept": part_of_speech().index, "change": row})
        for kind, values in (("own", own), ("random", control or {}))
        for edit, row in values.items()
    ]
    return pd.concat(frames)


def skewed(rng: np.random.Generator) -> Any:
    """A value a concept, as under suppression: most near -1, some far above."""
    return rng.lognormal(-1.0, 0.8, len(part_of_speech())) - 1


def found(rows: list[dict[str, Any]], **wanted: str) -> dict[str, Any]:
    """The one test with these values."""
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals of few draws: the simulations look at p-values alone."""
    monkeypatch.setattr(statistics, "RESAMPLES", 20)


def test_planted_difference_between_nouns_and_others_is_found() -> None:
    rng = np.random.default_rng(0)
    parts = part_of_speech()
    own = skewed(rng) + 0.3 * (parts != "noun")
    rows = comparisons.tests(changes({"suppress": own, "amplify": skewed(rng)}), parts)
    row = found(rows, edit="suppress", b=REST, test="mann_whitney")
    assert (row["family"], row["a"], row["n_a"], row["n_b"]) == ("pos", "noun", 60, 45)
    assert row["significant"]
    assert row["effect_size"] < -0.3
    nouns, others = own[parts == "noun"], own[parts.isin(comparisons.REST)]
    assert row["difference"] == pytest.approx(nouns.median() - others.median())
    assert row["difference_ci"][0] < row["difference"] < row["difference_ci"][1] < 0
    assert found(rows, edit="suppress", b=REST, test="kolmogorov_smirnov")["significant"]
    # One by one, at a quarter of the others, for every part of speech.
    assert {row["b"] for row in rows} == {REST, *comparisons.REST}
    # Nothing was planted in the other edit.
    assert not found(rows, edit="amplify", b=REST, test="mann_whitney")["significant"]


@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
def test_without_a_difference_tests_of_parts_of_speech_err_at_their_level() -> None:
    """Of 200 runs at a level of 5 %, 1 to 20 err in 99.9 % of cases."""
    rng, parts = np.random.default_rng(1), part_of_speech()
    counts = {"mann_whitney": 0, "kolmogorov_smirnov": 0, "family": 0}
    for _ in range(RUNS):
        own = {"suppress": skewed(rng), "amplify": skewed(rng)}
        rows = comparisons.tests(changes(own), parts)
        for test in ("mann_whitney", "kolmogorov_smirnov"):
            counts[test] += found(rows, edit="suppress", b=REST, test=test)["p"] < 0.05
        # Where nothing is true, any discovery of the family is one too many.
        counts["family"] += any(row["significant"] for row in rows)
    assert all(1 <= count <= 20 for count in counts.values()), counts


@pytest.mark.usefixtures("few_draws")
def test_without_a_difference_paired_tests_err_at_their_level() -> None:
    rng, count = np.random.default_rng(2), 0
    for _ in range(RUNS):
        level = skewed(rng)  # of the concept, whatever is edited
        own, random = (level + 0.1 * rng.normal(size=len(level)) for _ in range(2))
        table = changes({"suppress": own}, {"suppress": random})
        (row,) = comparisons.tests(table, pd.Series(dtype="str"))
        count += row["p"] < 0.05
    assert 1 <= count <= 20


def test_own_is_compared_with_its_control_concept_by_concept() -> None:
    rng, parts = np.random.default_rng(3), part_of_speech()
    own = pd.Series(skewed(rng), index=parts.index)
    control = own + 0.02 + 0.01 * rng.normal(size=len(own))
    table = changes({"suppress": own.to_numpy()}, {"suppress": control.to_numpy()})
    # The order of rows is no pairing, and a concept without a value has no pair.
    table = table.sample(frac=1, random_state=0)
    table.loc[(table["kind"] == "random") & (table["concept"] == "c0"), "change"] = np.nan
    row = found(comparisons.tests(table, parts), family="controls")
    assert (row["edit"], row["a"], row["b"]) == ("suppress", "own", "random")
    assert (row["test"], row["n_a"], row["n_b"]) == ("wilcoxon", len(own) - 1, len(own) - 1)
    # Far less than the spread of concepts: unpaired, nothing would be found.
    assert row["significant"]
    assert not statistics.rank_sum(own.to_numpy(), control.to_numpy()).p < 0.05
    assert row["effect_size"] < -0.9
    assert row["difference"] == pytest.approx((own - control)[1:].median())
    assert row["difference_ci"][0] < row["difference"] < row["difference_ci"][1]


def test_p_values_are_adjusted_within_their_family() -> None:
    rng, parts = np.random.default_rng(4), part_of_speech()
    own = {edit: skewed(rng) for edit in ("suppress", "amplify", "factor:0.5")}
    control = {edit: values + 0.03 * rng.normal(size=len(parts)) for edit, values in own.items()}
    rows = comparisons.tests(changes(own, control), parts)
    for family, n in (("controls", 3), ("pos", 24)):
        members = [row for row in rows if row["family"] == family]
        assert len(members) == n
        expected = multipletests([row["p"] for row in members], method="fdr_bh")[1]
        assert [row["p_adjusted"] for row in members] == pytest.approx(expected)
        assert all(row["significant"] == (row["p_adjusted"] < 0.05) for row in members)


def test_fewer_than_five_concepts_are_not_tested() -> None:
    parts = pd.Series(["noun"] * 5 + ["verb"] * 3 + ["adverb"] * 2, index=list("abcdefghij"))
    rng = np.random.default_rng(5)
    own = pd.DataFrame(
        {"edit": "suppress", "kind": "own", "concept": parts.index, "change": rng.random(10)}
    )
    control = own.assign(kind="random").head(4)
    rows = comparisons.tests(pd.concat([own, control]), parts)
    assert {(row["family"], row["b"]) for row in rows} == {("pos", REST)}
    assert comparisons.settings()["min_n"] == 5
    enough = comparisons.tests(pd.concat([own, own.assign(kind="random").head(5)]), parts)
    assert {row["family"] for row in enough} == {"controls", "pos"}


def test_a_factor_of_one_edits_nothing_and_is_not_tested() -> None:
    rng, parts = np.random.default_rng(6), part_of_speech()
    own = {edit: skewed(rng) for edit in ("factor:1.0", "factor:1", "factor:1.5")}
    rows = comparisons.tests(changes(own, own), parts)
    assert {row["edit"] for row in rows} == {"factor:1.5"}


def test_planted_difference_of_parts_of_speech_is_found_in_a_run(
    make_run: WriteRun, environment: dict[str, Any]
) -> None:
    numbers = numbers_of(make_run(studied_tables(pos_difference=0.15), environment))
    rows = {(row["b"], row["test"]): row for row in numbers["tests"]}
    combined = rows["verb/adjective/adverb", "mann_whitney"]
    assert (combined["edit"], combined["a"]) == ("suppress", "noun")
    assert (combined["n_a"], combined["n_b"]) == (90, 90)
    assert combined["significant"]
    low, high = combined["difference_ci"]
    assert low < combined["difference"] < high < 0
    assert low < -0.15 < high
    assert rows["verb/adjective/adverb", "kolmogorov_smirnov"]["significant"]
    own = rows["random", "wilcoxon"]
    assert (own["family"], own["n_a"], own["significant"]) == ("controls", 180, True)
    assert own["effect_size"] < -0.9
    assert json.loads(as_json(numbers)) == numbers


def test_without_a_planted_difference_of_parts_of_speech_none_is_found_in_a_run(
    make_run: WriteRun, environment: dict[str, Any]
) -> None:
    numbers = numbers_of(make_run(studied_tables(pos_difference=0.0), environment))
    found = {row["family"]: row["significant"] for row in numbers["tests"]}
    assert found == {"controls": True, "pos": False}


def test_the_same_run_gives_the_same_numbers(
    make_run: WriteRun, environment: dict[str, Any]
) -> None:
    run_dir = make_run(studied_tables(pos_difference=0.1, n_each=6), environment)
    assert numbers_of(run_dir) == numbers_of(run_dir)
