"""Where memory runs out, half as much is computed together, and the results stay the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from unittest import mock

import pytest
import torch
from callbacks.commands import Table, analyze, table, write_jsonl
from encoders.tiny import PROMPTS, tiny_model

from kn_lightning.attribution import AttributionSettings, attribute_encoded
from kn_lightning.budget import _RETURN_EVERY, RowBudget, fitting_row_tokens
from kn_lightning.encoders.climb import Climb
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.staged import StagedForward
from kn_lightning.schema import Attribution

ROW_TOKENS = 256
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB."


@contextmanager
def planted(place: type, method: str, *calls: int) -> Iterator[list[int]]:
    """Within the block memory runs out in the calls of a method that are named, from 1 on.

    Gives a list that grows by the ``row_tokens`` of each call. The check at load, which has more
    of them, counts for nothing.
    """
    original = getattr(place, method)
    seen: list[int] = []

    def broken(self: object, *args: object, **kwargs: object) -> object:
        row_tokens = getattr(self, "row_tokens", 0)
        if row_tokens <= 2 * ROW_TOKENS:
            seen.append(row_tokens)
        if len(seen) in calls:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)
        return original(self, *args, **kwargs)

    with mock.patch.object(place, method, broken):
        yield seen


def assert_equal_but_for_rounding(ours: Attribution, expected: Attribution) -> None:
    for field in fields(Attribution):
        torch.testing.assert_close(
            getattr(ours, field.name), getattr(expected, field.name), rtol=1e-8, atol=1e-13
        )


def test_the_fitted_budget_is_a_sensible_number(bert: Encoder) -> None:
    assert 256 <= fitting_row_tokens(bert) < 10**9
    assert RowBudget.fitting(bert).row_tokens >= 256


def test_a_budget_is_halved_until_it_fits_and_stays_so() -> None:
    budget = RowBudget(100)
    tried: list[int] = []

    def compute(row_tokens: int) -> str:
        tried.append(row_tokens)
        if row_tokens > 20:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)
        return f"done with {row_tokens}"

    assert budget.run(compute) == "done with 12"
    assert tried == [100, 50, 25, 12]
    assert budget.run(compute) == "done with 12"
    assert tried[4:] == [12]
    assert budget.row_tokens == 12


def test_at_one_row_it_gives_up_with_the_error_itself() -> None:
    budget = RowBudget(5)
    errors = [torch.OutOfMemoryError(OUT_OF_MEMORY) for _ in range(3)]
    raised = iter(errors)

    def compute(row_tokens: int) -> None:
        raise next(raised)

    with pytest.raises(torch.OutOfMemoryError) as caught:
        budget.run(compute)
    assert caught.value is errors[-1]
    assert budget.row_tokens == 1


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no"), MemoryError()],
    ids=repr,
)
def test_other_errors_pass(error: Exception) -> None:
    budget = RowBudget(64)

    def compute(row_tokens: int) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        budget.run(compute)
    assert caught.value is error
    assert budget.row_tokens == 64


def test_memory_that_really_runs_out_is_known() -> None:
    budget = RowBudget(64)
    assert budget.run(lambda row_tokens: torch.empty((row_tokens > 8) << 55).numel()) == 0
    assert budget.row_tokens == 8


def test_what_the_failed_try_held_is_gone_before_the_next() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def compute(row_tokens: int) -> bool:
        if held:
            return held[0]() is None
        large = torch.zeros(1000)
        held.append(weakref.ref(large))
        raise torch.OutOfMemoryError(OUT_OF_MEMORY)

    gc.disable()  # gone by itself, or because it is collected; not because we were lucky
    try:
        assert RowBudget(64).run(compute)
    finally:
        gc.enable()


@pytest.mark.parametrize("call", [1, 2, 5])
def test_attribution_goes_on_with_half_as_much(
    encoder64: Encoder, encode: Callable, call: int
) -> None:
    prompts = encode(encoder64)
    settings = AttributionSettings(row_tokens=ROW_TOKENS)
    expected = attribute_encoded(encoder64, prompts, settings)
    budget = RowBudget(ROW_TOKENS)
    with planted(Climb, "top", call):
        result = attribute_encoded(encoder64, prompts, settings, budget)
    assert_equal_but_for_rounding(result, expected)
    assert budget.row_tokens == ROW_TOKENS // 2
    with planted(StagedForward, "slope") as seen:
        again = attribute_encoded(encoder64, prompts, settings, budget)
    assert set(seen) == {ROW_TOKENS // 2}
    assert torch.equal(again.scores, result.scores)


def test_attribution_in_the_smallest_climbs_gives_up_with_the_error_itself(
    bert: Encoder, encode: Callable
) -> None:
    budget = RowBudget(4)
    with (
        planted(Climb, "top", *range(1, 10)) as seen,
        pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"),
    ):
        attribute_encoded(bert, encode(bert), AttributionSettings(), budget)
    assert len(seen) == 3  # with 4, 2 and 1
    assert budget.row_tokens == 1


def test_an_error_of_the_encoder_passes_through_attribution(
    bert: Encoder, encode: Callable
) -> None:
    broken = RuntimeError("planted")
    with (
        mock.patch.object(Climb, "top", side_effect=broken),
        pytest.raises(RuntimeError, match="planted"),
    ):
        attribute_encoded(bert, encode(bert), AttributionSettings())


# A whole study


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """Flags of a small study with several climbs."""
    folder = tmp_path_factory.mktemp("study")
    model, tokenizer = tiny_model("bert")
    model.save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    groups: dict[str, list[str]] = {}
    for text, answer in PROMPTS:
        groups.setdefault(answer, []).append(text)
    lines = ({"concept": concept, "prompts": prompts} for concept, prompts in groups.items())
    file = write_jsonl(folder / "groups.jsonl", *lines)
    encoder = ("--model.encoder", folder / "bert", "--model.row_tokens", ROW_TOKENS)
    return (*encoder, "--data", "JsonlPrompts", "--data.path", file)


@pytest.fixture(scope="module")
def undisturbed(flags: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study where memory suffices."""
    return analyze(tmp_path_factory.mktemp("undisturbed") / "run", *flags)


def assert_tables_equal_but_for_rounding(ours: Table, expected: Table) -> None:
    assert len(ours) == len(expected) > 0
    for mine, other in zip(ours, expected, strict=True):
        for name, value in other.items():
            if isinstance(value, float):
                assert mine[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
            else:
                assert mine[name] == value, name


@pytest.mark.parametrize("method", ["base", "slope", "edited_statistics"])
def test_a_study_that_runs_out_of_memory_ends_with_the_same_tables(
    flags: tuple[object, ...], undisturbed: Path, tmp_path: Path, method: str
) -> None:
    with (
        planted(StagedForward, "edited_statistics") as edits,
        planted(StagedForward, method, 1, 3) as calls,
    ):
        run = analyze(tmp_path / "run", *flags)
    # Edits take twice as much together as attribution.
    first = ROW_TOKENS * (2 if method == "edited_statistics" else 1)
    assert [calls[0], calls[1], calls[3]] == [first, first // 2, first // 4]
    # What attribution found too much is too much for edits, and none is computed with more.
    assert edits[-1] == 2 * ROW_TOKENS // 4
    for name in ("prompts", "completeness", "coarse", "neurons", "edits"):
        assert_tables_equal_but_for_rounding(table(run, name), table(undisturbed, name))


def test_freed_memory_is_returned_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    returned: list[int] = []
    monkeypatch.setattr("kn_lightning.budget.return_freed_memory", lambda: returned.append(runs))
    budget = RowBudget(1)
    for runs in range(1, 2 * _RETURN_EVERY + 1):  # noqa: B007
        budget.run(lambda row_tokens: row_tokens)
    assert returned == [_RETURN_EVERY, 2 * _RETURN_EVERY]
