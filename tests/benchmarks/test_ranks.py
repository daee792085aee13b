"""Benchmarks of ranks: how evenly they share packs, and how fast more of them are."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kn_lightning.data.dealing import PackCost
from kn_lightning.data.study import Pack, planned_packs
from kn_lightning.schema import EncodedGroup, EncodedPrompt

from .quick import BENCHMARKS, rows_of
from .quick import quick as quick


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
def test_rank_scaling_on_two_ranks(quick: Any) -> None:
    rows = rows_of(quick("rank_scaling", "--devices", "2"))
    assert [(row["scaling"], row["ranks"], row["modelled"]) for row in rows] == [
        ("strong", 1, False), ("strong", 2, False), ("weak", 1, False), ("weak", 2, False),
        ("threads instead of ranks", 1, False), ("threads instead of ranks", 2, False),
    ]  # fmt: skip


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
