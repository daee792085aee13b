"""Each benchmark runs on a tiny encoder and gives what its table needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from .quick import BENCHMARKS, assert_stored_are_made_now, kind, rows_of
from .quick import quick as quick


def test_every_kind_of_stored_speed_is_made_by_a_test_below() -> None:
    stored = json.loads((BENCHMARKS / "results" / "attribution_speed.json").read_text())
    kinds = {kind(name) for name in stored}
    assert kinds <= {
        "random weights, SHAPE, N tokens",
        "speed alone, SHAPE, N tokens",
        "trained weights",
        "at equal error, trained weights",
    }


def test_a_stored_cell_of_an_older_script_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    old = {"speed alone, bert-large, 8 tokens": {"rows": [{"rule": "a", "seconds": 1.0}]}}
    (tmp_path / "results" / "attribution_speed.json").write_text(json.dumps(old))
    monkeypatch.setattr(sys.modules[kind.__module__], "BENCHMARKS", tmp_path)

    def made(row: dict[str, Any]) -> dict[str, Any]:
        return {"speed alone, tiny, 12 tokens": {"rows": [row]}}

    assert_stored_are_made_now("attribution_speed", made({"rule": "a", "seconds": 2.0}))
    for row in ({"rule": "b", "seconds": 1.0}, {"rule": "a", "seconds_a_prompt": 1.0}):
        with pytest.raises(AssertionError, match="bert-large"):
            assert_stored_are_made_now("attribution_speed", made(row))


def test_attribution_speed_on_random_weights(quick: Any) -> None:
    (cell,) = quick("attribution_speed").values()
    errors = {row["rule"]: row["error_p95"] for row in rows_of({"": cell})}
    assert len(errors) == 14
    assert all(0 <= error < 0.01 for error in errors.values())
    assert len(set(cell["largest_relative_difference"]) & set(errors)) == 7


def test_attribution_speed_alone_with_the_other_codes_in_some_layers(quick: Any) -> None:
    (cell,) = quick("attribution_speed", "--layers", "2").values()
    assert cell["layers_of_other_codes"] == [0, 2]
    rows = rows_of({"": cell})
    some, every = "2 of 3, times 1.5", "all"
    assert [row["layers_timed"] for row in rows] == [some, some, some, every, every, every]
    assert [row["prompts_at_a_time"] for row in rows[:3]] == [1, 1, 8]
    # Captum runs each pass from the bottom, and its head at every token.
    assert rows[2]["gflop_a_prompt"] > 1.5 * rows[-1]["gflop_a_prompt"] > 0
    assert max(cell["largest_relative_difference"].values()) <= 1e-5


@pytest.mark.slow
def test_attribution_speed_on_trained_weights(quick: Any) -> None:
    trained, equal = quick("attribution_speed", "--encoder", "embedded").values()
    errors = {row["rule"]: row["error_p95"] for row in rows_of({"": trained})}
    assert errors["adaptive, tolerance 0.1 %"] <= 0.001
    assert errors["riemann_left, 20 nodes"] > errors["gauss_legendre, 10 nodes"]
    for row in rows_of({"": equal}):
        assert row["captum_error_p95"] <= row["error_p95"]
        assert row["captum_steps"] < row["package_steps"]
        assert row["captum_seconds_a_prompt"] < row["package_seconds_a_prompt"]
    assert equal["prompts"] == trained["prompts"]


@pytest.mark.slow
def test_value_vectors_of_the_testbed(quick: Any) -> None:
    every, *layers = rows_of(quick("value_vectors"))
    assert every["layer"] == "all"
    assert every["knowledge_neurons"] == sum(row["knowledge_neurons"] for row in layers) > 0
    assert every["from"] <= every["times_higher"] <= every["to"]


def test_captum_with_several_prompts_of_any_length_gives_their_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from other_codes import captum_scores
    from setting import random_encoder, random_prompts

    encoder = random_encoder("tiny")
    prompts = [one for tokens in (8, 12, 6) for one in random_prompts(encoder, 2, tokens)]
    together = captum_scores(encoder, prompts, 5, [0, 2])
    alone = torch.cat([captum_scores(encoder, [one], 5, [0, 2]) for one in prompts])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5 * float(alone.abs().max()))


def test_prompts_are_taken_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from setting import evenly

    assert evenly(list("abcdefg"), 3) == ["a", "c", "e"]
    assert evenly(list("ab"), 3) == ["a", "b"]


@pytest.mark.parametrize("rule", ["adaptive", "riemann_right", "gauss_legendre"])
def test_matmul_rate(quick: Any, rule: str) -> None:
    (row,) = rows_of(quick("matmul_rate", "--rule", rule))
    # Torch counts no attention on the CPU, and some products are computed that needn't be.
    ratio = row["counted_gflop_a_prompt"] / row["necessary_gflop_a_prompt"]
    assert ratio == pytest.approx(1, abs=0.15)
    assert 0 < row["share_of_rate"] < 1


@pytest.mark.parametrize("layers", ["published", "uniform"])
def test_edit_speed(quick: Any, layers: str) -> None:
    (cell,) = quick("edit_speed", "--layers", layers).values()
    package, own = rows_of({"": cell})
    assert (package["code"], package["times_faster"]) == ("knowledge-neurons", 1)
    assert own["code"] == "this project"
    assert cell["largest_relative_difference"] < 1e-4


@pytest.mark.slow
def test_device_speed_on_the_cpu(quick: Any) -> None:
    rows, projected, kernels = quick("device_speed", "--device", "cpu").values()
    assert {row["precision"] for row in rows_of({"": rows})} == {"32-true", "bf16-mixed"}
    assert all(row["jaccard_trained"] > 0.8 for row in rows["rows"])
    assert rows["rows"][0]["jaccard_random"] == 1
    for row in rows_of({"": projected}):
        seconds = row["pararel_attribution_seconds"]
        assert seconds * row["prompts_a_second"] == pytest.approx(253_448)
    assert sum(row["share"] for row in rows_of({"": kernels})) > 0.5


@pytest.mark.slow
def test_scaling(quick: Any) -> None:
    (cell,) = quick("scaling").values()
    few, more = rows_of({"": cell})
    assert few["groups"] < more["groups"]
    assert few["seconds"] > 0
    assert few["peak_mib"] > 100
    assert len(cell["memory_growth"]) == 1
    assert "time_is_a_line" not in cell  # of two points


@pytest.mark.slow
def test_encoder_memory_of_a_shape_and_of_a_folder(
    quick: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from study import write_encoder

    write_encoder(tmp_path / "mine", "tiny")
    shape, folder = rows_of(quick("encoder_memory", "--encoder", str(tmp_path / "mine")))
    assert (shape["encoder"], folder["encoder"]) == ("tiny, random weights", "mine")
    for row in (shape, folder):
        assert (row["layers"], row["hidden_size"]) == (3, 32)
        assert 0 < row["parameters_mib"] < 1 < 100 < row["peak_mib"]
        assert row["seconds"] > 0


def test_other_methods(quick: Any) -> None:
    weights, agreement = quick("other_methods").values()
    rows = rows_of({"": weights})
    assert {row["edit"] for row in rows} == {"erase_zero", "erase_unk", "update"}
    assert {"reliability", "generality", "locality_other"} <= {row["aspect"] for row in rows}
    assert {row["neurons"] for row in rows} == {"knowledge", "random"}
    assert [row["attribution"] for row in rows_of({"": agreement})] == [
        "activation",
        "gradient_activation",
        "ablation",
    ]


@pytest.mark.slow
def test_the_whole_of_a_run(quick: Any) -> None:
    (row,) = rows_of(quick("whole_run"))
    assert row["whole_over_attribution_and_edits"] > 1
    assert row["whole_seconds"] > row["attribution_seconds"] + row["edits_seconds"] > 0
    assert 0 < row["help_seconds"] < row["whole_seconds"]


@pytest.mark.usefixtures("chromium")
def test_page(quick: Any) -> None:
    (row,) = rows_of(quick("page"))
    assert (row["concepts"], row["prompts"]) == (20, 100)
    assert 0 < row["of it embedded data MB"] < row["page MB"]
    assert row["seconds to open"] <= row["worst"]
