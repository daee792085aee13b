"""Each benchmark runs on a tiny encoder and gives what its table needs."""

from __future__ import annotations

import importlib
import json
import logging
import math
import random
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from kn_lightning.data.dealing import PackCost
from kn_lightning.data.study import Pack, planned_packs
from kn_lightning.schema import EncodedGroup, EncodedPrompt

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``quick("edit_speed", "--layers", "uniform")``: the cells that the script prints."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    kept = {path: path.read_bytes() for path in (BENCHMARKS / "results").glob("*.json")}

    def run(name: str, *flags: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick", *flags])
        runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
        left, decoder, cells = capsys.readouterr().out.strip(), json.JSONDecoder(), {}
        while left:
            cell, end = decoder.raw_decode(left)
            cells |= cell
            left = left[end:].strip()
        assert_stored_are_made_now(name, cells)
        return cells

    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    yield run
    logger.setLevel(level)
    assert kept == {path: path.read_bytes() for path in (BENCHMARKS / "results").glob("*.json")}


def kind(cell: str) -> str:
    """A cell's name without what it was measured on."""
    trained = re.sub(r"(trained weights), .*", r"\1", cell) if "random" not in cell else cell
    shapeless = re.sub(r"\b(tiny|embedded|bert-base|bert-large)\b", "SHAPE", trained)
    return re.sub(r"\d+|CPU|NVIDIA.*", "N", shapeless)


def assert_stored_are_made_now(script: str, made: dict[str, Any]) -> None:
    """Stored cells of the kinds that a script has just made have its columns, and its rules."""
    path = BENCHMARKS / "results" / f"{script}.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    now = {kind(name): cell["rows"] for name, cell in made.items()}
    for name, cell in stored.items():
        rows = now.get(kind(name))
        if rows is not None:
            assert [*cell["rows"][0]] == [*rows[0]], name
            if script == "attribution_speed":
                assert [row["rule"] for row in cell["rows"]] == [row["rule"] for row in rows], name


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
    monkeypatch.setattr(sys.modules[__name__], "BENCHMARKS", tmp_path)

    def made(row: dict[str, Any]) -> dict[str, Any]:
        return {"speed alone, tiny, 12 tokens": {"rows": [row]}}

    assert_stored_are_made_now("attribution_speed", made({"rule": "a", "seconds": 2.0}))
    for row in ({"rule": "b", "seconds": 1.0}, {"rule": "a", "seconds_a_prompt": 1.0}):
        with pytest.raises(AssertionError, match="bert-large"):
            assert_stored_are_made_now("attribution_speed", made(row))


def rows_of(cells: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of all cells; a cell's have the same columns, as its table needs."""
    for cell in cells.values():
        assert len({tuple(row) for row in cell["rows"]}) == 1
        assert cell["machine"]["threads"] >= 1
    return [row for cell in cells.values() for row in cell["rows"]]


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


def test_a_rank_takes_packs_as_in_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from rank_scaling import slowest_tokens

    # 40 groups of four prompts of 6 to 12 tokens: 1,420; dealt in turn, the slowest of 4 has 392.
    assert slowest_tokens(40, 200, 1) == 1420
    assert slowest_tokens(40, 200, 4) <= 1.02 * 1420 / 4


@pytest.mark.slow
def test_rank_scaling_by_the_model(quick: Any) -> None:
    rows = rows_of(quick("rank_scaling"))
    assert all(row["modelled"] for row in rows)
    strong = [row["seconds"] for row in rows if row["scaling"] == "strong"]
    assert strong == sorted(strong, reverse=True)
    assert strong[0] > strong[-1]


@pytest.mark.slow
def test_balance(quick: Any) -> None:
    rows = rows_of(quick("balance"))
    assert [row["ranks"] for row in rows] == [2, 8, 64, 512] * 2
    assert all(0 < row["efficiency"] <= row["largest"] + 1e-9 for row in rows)


def test_packs_that_ranks_take_are_shared_better_than_dealt_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from balance import long_tailed_sizes, rows, scaled, without_giants

    random.seed(0)
    groups = [
        EncodedGroup(
            str(number),
            None,
            tuple(EncodedPrompt("", "", "", None, (0,) * (n + 2), (0,), (0,)) for n in own),
        )
        for number, own in enumerate(scaled(without_giants(long_tailed_sizes()), 20_000))
    ]
    packs = list(planned_packs(groups, 2048))
    # Costs as estimated, but for a tenth that the estimate doesn't know of.
    cost = PackCost()
    seconds = [cost(pack) * (1.1 if pack.number % 2 else 0.9) for pack in packs]
    for row in rows(packs, seconds, cost):
        assert row["efficiency"] <= row["largest"] + 1e-9
        assert row["efficiency"] >= row["dealt beforehand"]
        if row["ranks"] == 8:  # at 64 the largest concept is the bound
            assert row["efficiency"] > row["dealt beforehand"] + 0.02


def test_the_cost_of_packs_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from balance import cost_fit

    prompt = EncodedPrompt("", "", "", None, (0,) * 10, (0,), (0,))
    packs = [
        Pack(number, (EncodedGroup(str(number % 3), None, (prompt,) * n),) * k)
        for number, (n, k) in enumerate([(4, 1), (4, 8), (30, 1), (9, 3), (20, 6)])
    ]
    cost = PackCost({str(n): 1000 * n for n in range(5)})
    seconds = [
        0.030 + 0.040 * len(pack.groups) + 0.001 * pack.tokens + 0.0002 * cost.borrowed_tokens(pack)
        for pack in packs
    ]
    fit = cost_fit(packs, seconds, cost)
    assert fit["milliseconds_a_token"] == pytest.approx(1.0)
    assert fit["pack_in_tokens"] == pytest.approx(30.0)
    assert fit["group_in_tokens"] == pytest.approx(40.0)
    assert fit["borrowed_token_in_tokens"] == pytest.approx(0.2)
    assert fit["missed"] == pytest.approx(0.0, abs=1e-9)


def test_packs_cost_by_formula_what_was_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from balance import cost_fit, formula_packs, long_tailed_sizes

    random.seed(0)
    fit = {
        "milliseconds_a_token": 2.0,
        "pack_in_tokens": 30.0,
        "group_in_tokens": 4.0,
        "borrowed_token_in_tokens": 0.5,
    }
    packs, seconds, cost = formula_packs("tiny", long_tailed_sizes()[:60], 512, fit)
    assert len(packs) == len(seconds) > 4
    assert any(cost.borrowed_tokens(pack) for pack in packs)
    again = cost_fit(packs, seconds, cost)
    assert {name: again[name] for name in fit} == pytest.approx(fit)


@pytest.mark.slow
def test_rank_scaling_on_two_ranks(quick: Any) -> None:
    rows = rows_of(quick("rank_scaling", "--devices", "2"))
    assert [(row["scaling"], row["ranks"], row["modelled"]) for row in rows] == [
        ("strong", 1, False), ("strong", 2, False), ("weak", 1, False), ("weak", 2, False),
        ("threads instead of ranks", 1, False), ("threads instead of ranks", 2, False),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_soak_to_the_end(quick: Any) -> None:
    rows = rows_of(quick("soak"))
    assert rows[-2]["packs"].startswith("100% of ")
    assert rows[-1]["packs"] == "the report"
    assert all(row["resident_mib"] > 100 for row in rows)


def test_soak_shows_growth_behind_the_last_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from soak import table_rows

    packs = [(number, 100.0) for number in range(20)]
    rows = table_rows([*packs, (20, 150.0), (20, 170.0), (math.inf, 200.0)], 7)
    shares = [f"{share}% of 20" for share in (10, 50, 90, 100)]
    assert [row["packs"] for row in rows] == [*shares, "the report"]
    assert [row["times_a_tenth"] for row in rows] == [1, 1, 1, 1.6, 2]
    assert [row["rest_over_a_tenth"] for row in rows[-2:]] == [1.6, 2]
    assert rows[-2]["most_mib"] == 170


def test_stages_in_which_studies_are_killed_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from killed import STAGES

    for module, name, _ in STAGES.values():
        place: Any = importlib.import_module(module)
        for part in name.split("."):
            place = getattr(place, part)
        assert callable(place)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.parquet", b""), ("scores/a.safetensors", b"1"), ("figures/a.svg", b"1"), ("new", b"0")],
)
def test_killed_study_that_ended_otherwise_is_not_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from killed import same

    runs = tmp_path / "run", tmp_path / "undisturbed"
    for run in runs:
        for file in ("scores/a.safetensors", "figures/a.svg", "report.html"):
            (run / file).parent.mkdir(parents=True, exist_ok=True)
            (run / file).write_bytes(b"0")
        pq.write_table(pa.table({"a": [1]}), run / "a.parquet")
    (runs[0] / "report.html").write_bytes(b"of other seconds")
    assert same(*runs)
    if content:
        (runs[0] / name).write_bytes(content)
    else:
        pq.write_table(pa.table({"a": [2]}), runs[0] / name)
    assert not same(*runs)


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
