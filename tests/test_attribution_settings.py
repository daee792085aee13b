"""Settings of ``attribute``; gradients and chunks, which are its own affair."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from encoders.tiny import PROMPTS

from kn_lightning import attribute
from kn_lightning.attribution import (
    AttributionSettings,
    length_chunks,
)
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import Attribution, EncodedPrompt

TEXTS, ANSWERS = (list(column) for column in zip(*PROMPTS, strict=True))


# Settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rule": "simpson"}, "simpson.*gauss_legendre"),
        ({"nodes": 5}, "adaptive.*nodes=5"),
        ({"rule": "gauss_legendre", "nodes": 0}, "0 nodes"),
        ({"rule": "trapezoid", "nodes": 1}, "at least 2"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    bert: Encoder, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        attribute(bert, TEXTS[:1], ANSWERS[:1], **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings", [{"path": "both"}, {"candidates": 0}, {"row_tokens": 0}, {"row_tokens": -3}]
)
def test_engine_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        AttributionSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("nodes", [1, 3, 7, 13])
def test_any_number_of_nodes_goes_with_any_batch(bert: Encoder, nodes: int) -> None:
    result = attribute(bert, TEXTS, ANSWERS, "riemann_right", nodes)
    assert (result.evaluations == nodes).all()


# Gradients are its own affair


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
def test_the_callers_grad_mode_is_neither_needed_nor_changed(bert: Encoder, mode: Callable) -> None:
    with mode():
        before = torch.is_grad_enabled()
        result = attribute(bert, TEXTS, ANSWERS, "gauss_legendre", 3)
        assert torch.is_grad_enabled() == before
    assert (result.scores != 0).any()
    assert torch.equal(result.scores, attribute(bert, TEXTS, ANSWERS, "gauss_legendre", 3).scores)


def test_inference_mode_is_refused_with_what_to_do_about_it(bert: Encoder) -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match="inference_mode=False"):
        attribute(bert, TEXTS[:1], ANSWERS[:1])


@pytest.mark.parametrize(("rule", "nodes"), [("gauss_legendre", 3), ("adaptive", None)])
def test_parameters_that_ask_for_gradients_get_none_and_change_nothing(
    make_encoder: Callable, rule: str, nodes: int | None
) -> None:
    encoder = make_encoder("bert")
    expected = attribute(encoder, TEXTS, ANSWERS, rule, nodes)
    encoder.model.requires_grad_(True)
    result = attribute(encoder, TEXTS, ANSWERS, rule, nodes)
    assert torch.equal(result.scores, expected.scores)
    for field in fields(Attribution):
        assert not getattr(result, field.name).requires_grad, field.name
    assert all(parameter.grad is None for parameter in encoder.model.parameters())


def test_no_graph_and_no_cached_pass_outlives_the_call(
    bert: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kn_lightning.encoders.head import Head
    from kn_lightning.encoders.staged import StagedForward

    kept: list[weakref.ref] = []
    original_base, original = StagedForward.base, Head.probability

    def base(self: StagedForward, *args: object) -> object:
        result = original_base(self, *args)  # type: ignore[arg-type]
        kept.extend(weakref.ref(tensor) for tensor in (result.activations, result.end_gradient))
        kept.extend(weakref.ref(tensor) for tensor in result.statistics)
        kept.extend(weakref.ref(call.projected) for call in result.calls)
        return result

    def probability(self: Head, *args: object) -> torch.Tensor:
        result = original(self, *args)  # type: ignore[arg-type]
        kept.append(weakref.ref(result))
        return result

    monkeypatch.setattr(StagedForward, "base", base)
    monkeypatch.setattr(Head, "probability", probability)
    result = attribute(bert, TEXTS, ANSWERS)
    gc.collect()
    assert len(kept) > 5
    assert [reference() is None for reference in kept] == [True] * len(kept)
    assert result.scores.untyped_storage().nbytes() == result.scores.numel() * 4


# Chunks


def test_chunks_are_by_length_and_within_the_budget(bert: Encoder, encode: Callable) -> None:
    prompts = encode(bert) * 5
    lengths = [len(prompt.input_ids) for prompt in prompts]
    for tokens in (1, 20, 60, 10**6):
        chunks = list(length_chunks(prompts, tokens))
        flat = [index for chunk in chunks for index in chunk]
        assert sorted(flat) == list(range(len(prompts)))
        assert [lengths[i] for i in flat] == sorted(lengths)
        for chunk in chunks:
            size = len(chunk) * max(lengths[i] for i in chunk)
            assert size <= tokens or len(chunk) == 1
    assert list(length_chunks([], 100)) == []


def test_large_chunks_are_cut_before_they_are_mostly_padding() -> None:
    lengths = torch.randint(5, 40, (400,), generator=torch.Generator().manual_seed(0)).tolist()
    prompts = [EncodedPrompt("", "", "", None, (0,) * n, (0,), (0,)) for n in lengths]
    chunks = list(length_chunks(prompts, 10**6))
    padded = sum(len(chunk) * max(lengths[i] for i in chunk) for chunk in chunks)
    assert padded < 1.12 * sum(lengths)  # all together: 1.8
    sizes = [sum(lengths[i] for i in chunk) for chunk in chunks]
    assert min(sizes[:-1]) >= 256
    # Prompts of one length stay together.
    assert [len(chunk) for chunk in length_chunks(prompts[:1] * 300, 10**6)] == [300]


def test_an_encoder_in_training_mode_or_edited_is_refused(bert: Encoder) -> None:
    prompt, answer = [PROMPTS[0][0]], [PROMPTS[0][1]]
    with bert.edited([(0, 1)], factor=0.0), pytest.raises(InputError, match="edited"):
        attribute(bert, prompt, answer)
    bert.model.train()
    try:
        with pytest.raises(InputError, match="eval"):
            attribute(bert, prompt, answer)
    finally:
        bert.model.eval()
