"""The report of a formation study: a record whose every number is known by pencil and paper."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kn_lightning.errors import InputError
from kn_lightning.formation_record import FormationRecord
from kn_lightning.report import write_report
from kn_lightning.report.formation_figures import layer_color
from kn_lightning.report.formation_likeness import layer_likeness
from kn_lightning.report.formation_timing import (
    FIRST,
    LASTING,
    held_shares,
    order,
    place,
    timing,
)
from kn_lightning.report.formation_wording import caveats, median_step, order_sentence
from kn_lightning.report.numerals import GAP
from kn_lightning.report.statistics import mean_interval, signed_rank
from kn_lightning.schema import Skipped

from .chromium import opened

STEPS = (0, 100, 300, 400)
N = 8
IDENTITY = {"encoder.n_layers": 3, "encoder.n_neurons": 10, "model.rule": "adaptive"}

LAST = {(0, 1), (2, 5)}
"""Neurons of all concepts at the last step, besides one of each concept's own."""


def neurons_of(number: int, step: int) -> set[tuple[int, int]]:
    """Even concepts have two of three last neurons from step 100 on, odd ones all at 400."""
    if step == 400:
        return LAST | {(1, number)}
    if step == 0 or number % 2:
        return {(0, 9)}
    return LAST


def probability_of(number: int, step: int) -> float:
    """Concepts 0 to 5 rise at 300, and 6 and 7 are there from the beginning."""
    return 0.8 if step >= 300 or number >= 6 else 0.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of four steps with its report."""
    path = tmp_path_factory.mktemp("formation")
    record = FormationRecord(path)
    left_out = [Skipped("New York", None, "several tokens"), Skipped("c1", "a text", "no mask")]
    record.begin(IDENTITY, {"source": "checkpoints", "versions": {}}, left_out)
    for step in STEPS:
        concepts = [
            {
                "concept": f"c{number}",
                "pos": "noun" if number < 5 else "verb",
                "step": step,
                "checkpoint": f"at <{step}>",
                "n_prompts": 2,
                "probability": probability_of(number, step),
                "rank": 1.0,
                "first": 1.0,
                "n_neurons": len(neurons_of(number, step)),
            }
            for number in range(N)
        ]
        rows = [
            {"step": step, "concept": f"c{number}", "layer": layer, "neuron": neuron}
            | {"share": 1.0, "score": 0.1}
            for number in range(N)
            for layer, neuron in sorted(neurons_of(number, step))
        ]
        record.add(pd.DataFrame(concepts), pd.DataFrame(rows))
    write_report(path)
    return path


@pytest.fixture(scope="module")
def numbers(folder: Path) -> dict[str, Any]:
    """Its summary."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return summary


def means(points: list[dict[str, Any]]) -> list[float]:
    return [point["mean"] for point in points]


def test_curves_are_means_over_concepts_with_bootstrap_intervals(numbers: dict[str, Any]) -> None:
    found = numbers["curves"]["all"]
    probability = found["probability"]
    assert [point["step"] for point in probability] == [*STEPS]
    assert means(probability) == pytest.approx([(2 * 0.8 + 6 * 0.1) / 8] * 2 + [0.8] * 2)
    values = np.array([probability_of(n, 0) for n in range(N)], dtype=np.float32).astype(float)
    assert probability[0]["interval"] == pytest.approx(mean_interval(values))
    assert probability[3]["interval"] is None  # all are the same
    assert means(found["n_neurons"]) == [1, 1.5, 1.5, 3]
    # {(0, 1), (2, 5)} of three: 2/3 for half of the concepts.
    assert means(found["jaccard_with_last"]) == pytest.approx([0, 1 / 3, 1 / 3, 1])
    # Two shared, of three and three (four different ones), and of two and three.
    others = means(found["jaccard_with_last_of_others"])
    assert others == pytest.approx([0, 1 / 3, 1 / 3, 2 / 4])
    assert means(numbers["curves"]["verb"]["probability"]) == pytest.approx(
        [(2 * 0.8 + 0.1) / 3] * 2 + [0.8] * 2
    )


def test_steps_are_dated_and_what_cannot_be_is_counted(numbers: dict[str, Any]) -> None:
    found = numbers["timing"]["all"]["first"]
    probability, neurons = found["probability"], found["neurons"]
    assert (probability["median"], probability["n_left_censored"]) == (300, 2)
    assert (neurons["median"], neurons["n_left_censored"], neurons["n_at_last"]) == (250, 0, 4)
    assert neurons["interval"] == [100, 400]
    nouns = numbers["timing"]["noun"]["first"]["neurons"]
    assert (nouns["n"], nouns["median"]) == (5, 100)


def test_order_is_tested_over_pairs_that_are_dated(numbers: dict[str, Any]) -> None:
    order = numbers["order"]["first"]
    # c0, c2, c4: neurons 200 steps before; c1, c3, c5: 100 after; c6, c7: probability is censored.
    assert (order["n"], order["n_dated"], order["n_one_left_censored"]) == (8, 6, 2)
    assert (order["n_neurons_before"], order["n_same_step"], order["n_neurons_after"]) == (3, 0, 5)
    differences = np.array([-200.0, 100, -200, 100, -200, 100])
    assert order["mean_difference"] == -50
    assert order["interval"] == mean_interval(differences)
    assert order["test"]["p"] == signed_rank(differences).p
    assert order["test"]["effect_size"] == pytest.approx((6 - 15) / 21)


def test_order_is_said_for_other_shares_of_the_last_probability(numbers: dict[str, Any]) -> None:
    shares = numbers["order_by_share"]
    assert list(shares) == ["0.1", "0.25", "0.5"]
    assert shares["0.5"] == numbers["order"]
    # 0.1 exceeds a tenth of 0.8, at the first step already, and not a quarter.
    assert shares["0.25"] == shares["0.5"]
    assert shares["0.1"]["first"]["n_one_left_censored"] == 8
    assert shares["0.1"]["first"]["n_neurons_after"] == 8


def risen(mean: float, low: float, high: float) -> dict[str, Any]:
    counts = dict.fromkeys(("n_neurons_before", "n_same_step", "n_neurons_after"), 1)
    found = {"n_dated": 9, "mean_difference": mean, "interval": [low, high], "test": {"p": 0.01}}
    return {"first": {**counts, **found}}


def test_order_that_depends_on_the_share_is_called_so() -> None:
    before, after, open_ = risen(-50, -60, -40), risen(70, 60, 80), risen(-5, -20, 10)
    same = order_sentence({"0.1": before, "0.25": before, "0.5": before})
    assert "there before its probability" in same
    assert "order doesn't depend" in same
    for other in (after, open_):
        said = order_sentence({"0.1": other, "0.25": before, "0.5": before})
        assert "there before its probability" in said
        assert "so the order depends" in said
    assert "come first is open" in order_sentence({"0.1": after, "0.5": open_})


def test_layers_have_their_own_curves(numbers: dict[str, Any]) -> None:
    lowest, middle, highest = numbers["by_layer"]
    assert means(lowest["n_neurons"]) == [1, 1, 1, 1]
    assert means(middle["n_neurons"]) == [0, 0, 0, 1]
    assert means(highest["n_neurons"]) == [0, 0.5, 0.5, 1]
    assert means(lowest["last_ones_present"]) == [0, 0.5, 0.5, 1]
    assert means(middle["last_ones_present"]) == [0, 0, 0, 1]
    assert middle["timing"]["first"]["median"] == 400


def test_layers_have_the_likeness_to_their_last_neurons(numbers: dict[str, Any]) -> None:
    lowest, middle, highest = numbers["by_layer"]
    assert means(lowest["jaccard_with_last"]) == [0, 0.5, 0.5, 1]
    assert means(middle["jaccard_with_last"]) == [0, 0, 0, 1]
    assert [point["n"] for point in highest["jaccard_with_last"]] == [N] * 4
    # All have (0, 1) at the last step, and each a neuron of its own in layer 1.
    assert means(lowest["jaccard_with_last_of_others"]) == [0, 0.5, 0.5, 1]
    assert means(middle["jaccard_with_last_of_others"]) == [0, 0, 0, 0]


def test_likeness_by_layer_is_of_concepts_with_last_neurons_there() -> None:
    concepts = pd.DataFrame({"step": [0, 0, 0, 9, 9, 9], "concept": [*"abc"] * 2})
    # a: one of two in common, and one more; b: none at the last; c: one that a has, too.
    places = [(0, "a", 1), (0, "a", 2), (0, "b", 1), (9, "a", 1), (9, "a", 3), (9, "c", 3)]
    rows = [(step, name, layer, n) for step, name, n in places for layer in (0, 1)]
    rows += [(0, "a", 0, 4), (9, "b", 1, 1)]
    neurons = pd.DataFrame(rows, columns=["step", "concept", "layer", "neuron"])
    found = layer_likeness(concepts, neurons, 0)
    assert found["concept"].tolist() == ["a", "c"] * 2
    # {1, 2, 4} and {1, 3}; nothing and {3}; the last with themselves.
    assert found["jaccard_with_last"].tolist() == [1 / 4, 0, 1, 1]
    # a's with c's and b's, of which b's are none; c's, none at first, with a's alone.
    np.testing.assert_array_equal(found["jaccard_with_last_of_others"], [0, 0, 1 / 4, 1 / 4])
    other = layer_likeness(concepts, neurons, 1)
    assert other["concept"].tolist() == [*"abc"] * 2
    assert other["jaccard_with_last"].tolist() == [1 / 3, 1, 0, 1, 1, 1]
    assert layer_likeness(concepts, neurons, 2).empty


@pytest.mark.parametrize(
    ("holds", "first", "lasting"),
    [("0011", 2, 2), ("0101", 1, 3), ("1111", 0, 0), ("1101", 0, 3), ("0001", 3, 3)],
)
def test_first_and_lasting_steps(holds: str, first: int, lasting: int) -> None:
    flags = np.array([flag == "1" for flag in holds])
    assert (place(flags, FIRST), place(flags, LASTING)) == (first, lasting)


def test_report_is_self_contained_and_says_the_numbers(folder: Path) -> None:
    html, markdown = ((folder / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert 'src="data:image/svg+xml' in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    for name in ("formation", "formation_order", "formation_by_layer", "formation_by_pos"):
        assert (folder / "figures" / f"{name}.png").is_file()
        assert (folder / "figures" / f"{name}.svg").is_file()
        assert f"figures/{name}.png" in markdown
    for text in (html, markdown):
        assert "8 concepts at 4 steps, 0 to 400" in text
        assert "exceeds half of its last value at step 300" in text
        assert "is open" in text  # -50 on average, and the interval reaches beyond 0
        assert "2 of 8 probabilities" in text


def test_what_was_left_out_and_what_was_not_learned_is_said(numbers: dict[str, Any]) -> None:
    assert numbers["left_out"] == {"concepts": ["New York"], "n_prompts": 1}
    said = caveats(numbers)
    (left_out,) = (text for text in said if "skipped.parquet" in text)
    assert left_out.endswith(": 1 concept (New York), and of others 1 prompt.")
    assert not any("has not been learned" in text for text in said)
    numbers = copy.deepcopy(numbers)
    numbers["left_out"] = {"concepts": [], "n_prompts": 0}
    numbers["curves"]["all"]["first"][-1]["mean"] = 0.1
    first, *rest = caveats(numbers)
    assert f"right for 10.0{GAP}% of the prompts" in first
    assert not any("skipped.parquet" in text for text in rest)


def test_report_lists_its_curves_by_step_layer_and_part_of_speech(folder: Path) -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (folder / "report.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    # Probability, first places, neurons; Jaccard with one before, the last and others' last.
    assert ["0", "0.275", f"100.0{GAP}%", "1.00", "–", "0.00", "0.00"] in rows
    assert ["400", "0.800", f"100.0{GAP}%", "3.00", "0.33", "1.00", "0.50"] in rows
    assert ["100", "1.00", "0.00", "0.50"] in rows  # half have a second neuron, in layer 2
    assert ["300", f"100.0{GAP}%", f"50.0{GAP}%"] in rows  # all have risen, even ones have neurons
    # Of layer 0 all have (0, 1) at the last step and even ones before, of layer 1 none.
    assert ["100", f"50.0{GAP}%", f"0.0{GAP}%", f"50.0{GAP}%"] in rows
    layers = [n for n, row in enumerate(rows) if row[:2] == ["step", "layer 0 (n = 8)"]]
    assert len(layers) == 4
    # Those of the last step: all have (0, 1), and (2, 5), and one of layer 1.
    assert {tuple(rows[n][2:]) for n in layers} == {("layer 1 (n = 8)", "layer 2 (n = 8)")}
    # Numbers, what is present, and likeness to a concept's own and to others' last neurons.
    assert [rows[n + 3] for n in layers[2:]] == [
        ["100", "0.50", "0.00", "0.50"],
        ["100", "0.50", "0.00", "0.50"],
    ]
    start = rows.index(["step", "noun", "verb"])
    assert rows[start + 2] == ["0", "0.100", "0.567"]


def test_probability_that_ends_at_0_is_not_dated_and_layers_say_of_how_many() -> None:
    concepts = pd.DataFrame(
        {
            "concept": ["a", "a", "b", "b"],
            "step": [0, 100, 0, 100],
            "probability": [0.8, 0.0, 0.1, 0.8],
        }
    )
    neurons = pd.DataFrame(
        {"step": [100, 100], "concept": ["a", "b"], "layer": [0, 0], "neuron": [1, 1]}
    )
    held = held_shares(concepts, neurons, 1)
    assert held.probability.keys() == {"b"}
    for kind in (FIRST, LASTING):
        found = timing(held.probability, ["a", "b"], held.steps, kind)
        assert (found["n"], found["n_left_censored"], found["median"]) == (1, 0, 100)
        assert order(held, kind)["n"] == 1


def test_median_at_the_first_step_is_known_to_be_no_later() -> None:
    found = {"median": 5.0, "interval": [5.0, 7.5]}
    assert median_step(found, 5) == f"≤{GAP}5 [≤{GAP}5, 7.5]"
    assert median_step(found, 0) == "5 [5, 7.5]"


@pytest.mark.slow
@pytest.mark.usefixtures("chromium")
@pytest.mark.parametrize("width", [390, 1920])
def test_page_fits_its_window_light_and_dark(folder: Path, tmp_path: Path, width: int) -> None:
    for dark in (False, True):
        measures, console = opened(folder / "report.html", tmp_path, width, dark)
        assert (measures["beyond"], measures["requests"], console) == (0, [], [])
        assert measures["paper"] == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
        assert measures["images"] == [True] * 4
        assert measures["narrowest"] > 550


def test_page_has_both_color_schemes_and_heads_of_rows(folder: Path) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert '<meta name="color-scheme" content="light dark">' in html
    bodies = re.findall("<tbody>(.*?)</tbody>", html, re.DOTALL)
    rows = [row for body in bodies for row in re.findall("<tr>(.*?)</tr>", body, re.DOTALL)]
    assert len(rows) >= len(STEPS)
    assert all(re.fullmatch('<th scope="row">[^<]+</th>(<td.*?</td>)+', row) for row in rows)


def test_report_drawn_again_is_the_same(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_report(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_single_step_and_another_language_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="report.language ja"):
        write_report(folder, "ja")
    record = FormationRecord(tmp_path)
    record.begin(IDENTITY, {"source": "training"})
    concepts, neurons = (
        pd.read_parquet(folder / f"{name}.parquet") for name in ("formation", "formation_neurons")
    )
    alone = concepts["step"] == 0
    columns = ["jaccard_with_previous", "jaccard_with_last"]
    record.add(concepts[alone].drop(columns=columns), neurons[neurons["step"] == 0])
    with pytest.raises(InputError, match="one step alone"):
        write_report(tmp_path)


@pytest.mark.parametrize("n_layers", range(1, 49))
def test_each_layer_has_a_color_of_its_own(n_layers: int) -> None:
    colors = [layer_color(layer, n_layers) for layer in range(n_layers)]
    assert len(set(colors)) == n_layers  # a shade below 0 by rounding would be none
