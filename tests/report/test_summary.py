"""Planted run folders → the numbers of the summary, computed by hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kn_lightning.report.changes import edit_order, factor, kind_name, kind_order
from kn_lightning.report.summary import PUBLISHED, as_json

from .runs import Rows, WriteRun, edit_row, near, numbers_of, prompt_row


def test_own_suppression(numbers: dict[str, Any]) -> None:
    # cat -0.5, dog -0.25, script +0.5
    assert numbers["changes"]["suppress"]["own"] == {
        "n": 3,
        "n_undefined": 0,
        "mean": near(-0.25 / 3),
        "median": near(-0.25),
        "mean_ci": None,  # of three values there is no interval
        "median_ci": None,
        "p05": near(-0.475),
        "p25": near(-0.375),
        "p75": near(0.125),
        "p95": near(0.425),
        "falls": near(2 / 3),
        "rises": near(1 / 3),
        "log_odds": near((-3 - 0.1 + 1) / 3),
        "n_log_odds": 3,
        "n_prompts": 4,
        "argmax_changed": near(1 / 4),
    }
    assert numbers["own_falls_under_suppression"] == near(2 / 3)


def test_own_amplification_counts_a_change_of_zero_on_neither_side(numbers: dict[str, Any]) -> None:
    own = numbers["changes"]["amplify"]["own"]
    assert (own["median"], own["falls"], own["rises"]) == (near(1.0), 0.0, near(2 / 3))


def test_random_neurons_are_averaged_within_a_concept(numbers: dict[str, Any]) -> None:
    random = numbers["changes"]["suppress"]["random"]
    assert (random["n"], random["n_prompts"]) == (2, 6)
    assert (random["p05"], random["p95"]) == (near(-0.09), near(0.09))


def test_change_from_a_probability_of_zero_is_counted_as_undefined(numbers: dict[str, Any]) -> None:
    other = numbers["changes"]["suppress"]["other"]
    assert (other["n"], other["n_undefined"], other["median"]) == (1, 1, near(0.25))


def test_concepts_without_neurons_are_counted_and_left_out(numbers: dict[str, Any]) -> None:
    assert numbers["concepts_without_neurons"] == 1
    assert numbers["names_without_neurons"] == ["bare"]
    assert numbers["changes"]["suppress"]["own"]["n"] == 3


def test_histograms_count_what_lies_outside(numbers: dict[str, Any]) -> None:
    assert numbers["histograms"]["suppress"]["kinds"]["own"]["above"] == 1
    assert numbers["histograms"]["suppress"]["kinds"]["unrelated"]["above"] == 0
    assert numbers["histograms"]["amplify"]["kinds"]["own"] == {
        "n": 3,
        "below": 0,
        "above": 1,
        "largest": near(19.0),
    }


def test_controls_compare_medians(numbers: dict[str, Any]) -> None:
    rows = {(row["edit"], row["control"]): row for row in numbers["controls"]}
    # Of the cat alone: the dog's other prompt had a probability of 0.
    assert rows["suppress", "other"]["n_pairs"] == 1
    assert rows["suppress", "other"]["own_median"] == near(-0.5)
    assert rows["suppress", "other"]["ratio"] == near(0.5)
    assert rows["suppress", "unrelated"]["ratio"] == near(0.4)
    assert rows["amplify", "unrelated"]["own_moves_more"] == near(2 / 3)


def test_too_few_concepts_have_no_test_and_no_reading(numbers: dict[str, Any]) -> None:
    assert numbers["tests"] == []
    assert all(row["reading"] is None for row in numbers["controls"])
    assert all(row["p_adjusted"] is row["effect_size"] is None for row in numbers["controls"])
    settings = {"alpha": 0.05, "min_n": 5, "level": 0.95, "resamples": 2000, "seed": 0}
    assert numbers["test_settings"] == settings


@pytest.mark.parametrize(
    ("encoder", "n_layers", "same"),
    [
        ("bert-base-uncased", 12, True),
        ("google-bert/bert-base-uncased", 12, True),
        ("models/bert-base-uncased/", 12, True),
        ("bert-base-uncased", 6, False),
        ("bert-base-cased", 12, False),
    ],
)
def test_published_counts_stand_beside_those_of_the_same_encoder(
    run_dir: Path, encoder: str, n_layers: int, same: bool
) -> None:
    path = run_dir / "environment.json"
    environment = json.loads(path.read_text(encoding="utf-8"))
    environment["encoder"] |= {"id": encoder, "n_layers": n_layers}
    path.write_text(json.dumps(environment), encoding="utf-8")
    assert numbers_of(run_dir)["published"] == (PUBLISHED if same else None)


def test_published_counts_are_those_of_the_released_results(shared: Path) -> None:
    path = shared / "data" / "author_results" / "place_of_neurons_nt4_at0.2_mw10.csv"
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    # Concept, a layer for each neuron, their mean (nothing where there is no neuron).
    layers = Counter(int(layer) for line in lines for layer in line.split(",")[1:-1])
    assert len(lines) == PUBLISHED["concepts"]
    assert layers.total() == PUBLISHED["neurons"]
    assert [layers[layer] for layer in range(12)] == PUBLISHED["by_layer"]


def test_counts_and_skipped(numbers: dict[str, Any]) -> None:
    assert numbers["counts"] == {
        "concepts": 4,
        "prompts": 5,
        "skipped_concepts": 1,
        "skipped_prompts": 2,
        "skipped_by_reason": [
            {"reason": "no [MASK]", "concepts": 0, "prompts": 2},
            {"reason": "not one token", "concepts": 1, "prompts": 0},
        ],
    }


def test_known(numbers: dict[str, Any]) -> None:
    assert numbers["known"] == {
        "share_rank_1": 0.4,
        "share_rank_10": 0.8,
        "concepts_never_guessed": 1,
        "mean_probability": near(0.388),
        "median_probability": near(0.4),
    }


def test_completeness_is_relative_to_the_largest_total(numbers: dict[str, Any]) -> None:
    assert numbers["completeness"] == {
        "n": 4,
        "n_undefined": 1,
        "max": near(0.02),
        "p95": near(0.0176),
        "median": near(0.0025),
        "tolerance": 0.01,
        "n_above_tolerance": 1,
        "evaluations_per_prompt": 19.2,
        "evaluations_per_layer": 4.8,
    }


def test_neurons(numbers: dict[str, Any]) -> None:
    assert numbers["neurons"] == {
        "total": 5,
        "distinct": 3,
        "per_concept": {"n": 4, "mean": 1.25, "median": 1.0, "min": 0, "max": 3},
        "per_concept_with_neurons": {
            "n": 3,
            "mean": near(5 / 3),
            "median": 1.0,
            "min": 1,
            "max": 3,
        },
        "by_layer": [0, 1, 0, 4],
        "distinct_by_layer": [0, 1, 0, 2],
    }


def test_tables_without_relation_and_pos_are_empty(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    for row in tables["prompts"]:
        row |= {"relation": None, "pos": None}
    numbers = numbers_of(make_run(tables, environment))
    assert (numbers["by_relation"], numbers["by_pos"]) == ([], [])


def test_other_edits_and_neurons(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    tables["edits"] += [
        edit_row("cat", "cat/0", "factor:1.5", 0.8, 0.9),
        edit_row("cat", "cat/0", "suppress", 0.8, 0.6, neurons="activation"),
        edit_row("cat", "cat/0", "suppress", 0.8, 0.7, neurons="foreign"),
        # The other concept has no neurons: nothing was edited, so this is no measured change of 0.
        edit_row("dog", "dog/0", "suppress", 0.04, 0.04, neurons="foreign", n_neurons=0),
        edit_row("cat", "cat/not/0", "suppress", 0.5, 0.6, prompt_kind="negated"),
    ]
    changes = numbers_of(make_run(tables, environment))["changes"]
    assert list(changes) == ["suppress", "amplify", "factor:1.5"]
    kinds = ["own", "other", "unrelated", "negated", "random", "activation", "foreign"]
    assert list(changes["suppress"]) == kinds
    assert changes["suppress"]["negated"]["median"] == near(0.2)
    assert changes["suppress"]["activation"]["median"] == near(-0.25)
    foreign = changes["suppress"]["foreign"]
    assert (foreign["n"], foreign["n_undefined"], foreign["median"]) == (1, 1, near(-0.125))


def test_infinite_log_odds_become_null(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    for row in tables["edits"]:
        row["log_odds_after"] = float("-inf")
    numbers = numbers_of(make_run(tables, environment))
    assert numbers["changes"]["suppress"]["own"]["log_odds"] is None
    assert json.loads(as_json(numbers)) == numbers


def test_run_without_any_neuron(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    tables["neurons"], tables["edits"] = [], []
    numbers = numbers_of(make_run(tables, environment))
    assert numbers["changes"] == {}
    assert numbers["own_falls_under_suppression"] is None
    assert numbers["concepts_without_neurons"] == 4
    assert numbers["neurons"]["per_concept_with_neurons"]["mean"] is None


def test_many_prompts_of_a_concept_weigh_as_one_concept(
    make_run: WriteRun, tables: dict[str, Rows], environment: dict[str, Any]
) -> None:
    tables["prompts"] = [prompt_row(f"cat/{i}", "cat") for i in range(9)] + [prompt_row("d", "dog")]
    tables["edits"] = [edit_row("cat", f"cat/{i}", "suppress", 0.5, 0.25) for i in range(9)]
    tables["edits"].append(edit_row("dog", "d", "suppress", 0.5, 0.5))
    own = numbers_of(make_run(tables, environment))["changes"]["suppress"]["own"]
    assert (own["mean"], own["falls"]) == (near(-0.25), 0.5)


def test_orders_and_names() -> None:
    edits = ["factor:10", "amplify", "erase", "factor:1.5", "suppress"]
    assert edit_order(edits) == ["suppress", "amplify", "factor:1.5", "factor:10", "erase"]
    assert kind_order(["new", "random", "own"]) == ["own", "random", "new"]
    factors = {"suppress": 0, "amplify": 2, "factor:1.5": 1.5, "factor:x": None, "erase": None}
    assert {edit: factor(edit) for edit in factors} == factors
    assert kind_name("knowledge", "related") == "own"
    assert kind_name("knowledge", "negated") == "negated"
    assert kind_name("random:3", "related") == "random"
    assert kind_name("random:3", "other") == "random on other"
