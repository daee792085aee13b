"""Prompts of any lengths -> their attribution, in climbs that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from kn_lightning.budget import RowBudget
from kn_lightning.core.comparison import Compared, compared
from kn_lightning.core.forward import BasePass, Forward
from kn_lightning.core.quadrature import ADAPTIVE, DEFAULT_TOLERANCE
from kn_lightning.core.registry import ATTRIBUTIONS
from kn_lightning.core.registry import AttributionSettings as AttributionSettings
from kn_lightning.data.encoding import encode_prompt
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.forwards import fastest_forward
from kn_lightning.errors import InputError
from kn_lightning.schema import (
    INTEGRATED_GRADIENTS,
    NO_TOKEN,
    Attribution,
    EncodedPrompt,
    Prompt,
    Skipped,
)

PROMPTS_SHARE = 4
"""A base pass has this part of a climb's tokens: each of its prompts becomes many rows."""


ENOUGH_TOKENS, MOST_PADDED = 256, 1.1
"""From so many tokens on a chunk may have this many times its prompts' tokens, with padding."""


def row_budget(settings: AttributionSettings, encoder: Encoder) -> RowBudget:
    """What is computed together: as told, or what fits into the memory."""
    return RowBudget(settings.row_tokens) if settings.row_tokens else RowBudget.fitting(encoder)


def attribute(
    encoder: Encoder,
    prompts: list[str],
    answers: list[str],
    rule: str = ADAPTIVE,
    nodes: int | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    several: bool = False,
    attribution: str = INTEGRATED_GRADIENTS,
) -> Attribution:
    """What each answer's probability owes to the neurons at its prompt's mask.

    Args:
        encoder: from :func:`~kn_lightning.load_encoder`.
        prompts: B sentences with one ``[MASK]`` each.
        answers: B words, each one token of the vocabulary at that place, or ``several``.
        rule: ``adaptive`` or a fixed quadrature rule.
        nodes: of a fixed rule; 20 unless told.
        tolerance: of ``adaptive``.
        several: answers may be of several tokens: each gets a mask, attribution is at all of them.
        attribution: a name in ``core.registry.ATTRIBUTIONS``; the settings before are of integrated
            gradients.

    Returns:
        The attribution of all prompts, in their order.

    Raises:
        InputError: lists of different lengths, or an answer that can't be asked about.
    """
    if len(prompts) != len(answers):
        raise InputError(f"{len(prompts)} prompts but {len(answers)} answers: give one for each")
    encoded = []
    for number, (text, answer) in enumerate(zip(prompts, answers, strict=True)):
        result = encode_prompt(encoder, Prompt(text), answer, str(number), several)
        if isinstance(result, Skipped):
            raise InputError(f"prompt {number} {text!r}, answer {answer!r}: {result.reason}")
        encoded.append(result)
    settings = AttributionSettings(rule, nodes, tolerance, attribution=attribution)
    return attribute_encoded(encoder, encoded, settings)


def attribute_encoded(
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    settings: AttributionSettings,
    budget: RowBudget | None = None,
) -> Attribution:
    """:func:`attribute` for prompts that are encoded already; the result lies on the CPU.

    Args:
        encoder: from ``load_encoder``.
        prompts: of any lengths.
        settings: how.
        budget: kept between calls; fitted to the memory unless given.
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            "attribution needs gradients, and torch.inference_mode forbids them: use"
            " Trainer(inference_mode=False)"
        )
    if not prompts:
        raise InputError("no prompts to attribute")
    if encoder.model.training:
        raise InputError("the encoder is in training mode, its dropout is on: call model.eval()")
    if encoder.is_edited:
        raise InputError("attribution is of the untouched encoder: leave the edited block first")
    if budget is None:
        budget = row_budget(settings, encoder)
    return budget.run(lambda row_tokens: _attributed(encoder, prompts, settings, row_tokens))


def compare_encoded(
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    own: Tensor,
    settings: AttributionSettings,
    budget: RowBudget,
) -> dict[str, Compared]:
    """The attributions that a study is compared with, by name; they lie on the CPU.

    Args:
        encoder: from ``load_encoder``.
        prompts: of any lengths.
        own: ``[B, L, I]``, the scores that the study itself computed for them.
        settings: of the study.
        budget: kept between calls.
    """

    def compare(row_tokens: int) -> dict[str, Compared]:
        def columns(forward: Forward[Any], base: BasePass, chunk: list[int]) -> list[Tensor]:
            pairs = (compared(n, forward, base, own[chunk], settings) for n in settings.compare)
            return [column for pair in pairs for column in pair]

        found = _by_length(encoder, prompts, row_tokens, True, columns)
        pairs = zip(found[::2], found[1::2], strict=True)
        return dict(zip(settings.compare, map(Compared._make, pairs), strict=True))

    return budget.run(compare)


def _attributed(
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    settings: AttributionSettings,
    row_tokens: int,
) -> Attribution:
    def columns(forward: Forward[Any], base: BasePass, _: list[int]) -> list[Tensor]:
        found = ATTRIBUTIONS[settings.attribution](forward, base, settings)
        missing = most - found.argmax.shape[1]
        found = replace(found, argmax=pad(found.argmax, (0, missing), value=NO_TOKEN))
        return [getattr(found, field.name) for field in fields(Attribution)]

    most = max(len(prompt.answers) for prompt in prompts)
    with_slope = settings.needs_slope(settings.attribution)
    return Attribution(*_by_length(encoder, prompts, row_tokens, with_slope, columns))


def _by_length(
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    row_tokens: int,
    with_slope: bool,
    columns: Callable[[Forward[Any], BasePass, list[int]], list[Tensor]],
) -> list[Tensor]:
    """Columns ``[B, ...]`` of prompts of like lengths at a time, back in the prompts' order."""
    forward = fastest_forward(encoder, row_tokens)
    order: list[int] = []
    parts: list[list[Tensor]] = []
    for chunk in length_chunks(prompts, max(1, row_tokens // PROMPTS_SHARE)):
        base = forward.base(encoder.batch(prompts[i] for i in chunk), with_slope)
        order += chunk
        parts.append([column.cpu() for column in columns(forward, base, chunk)])
    back = torch.tensor(order).argsort()
    return [torch.cat(column)[back] for column in zip(*parts, strict=True)]


def length_chunks(prompts: Sequence[EncodedPrompt], tokens: int) -> Iterator[list[int]]:
    """Indices of prompts of as many masks, by length, cut at ``tokens`` (prompts x longest).

    A chunk that is large enough is cut before prompts so long that it would be mostly padding.
    """
    chunk: list[int] = []
    own = 0

    def size(index: int) -> tuple[int, int]:
        return len(prompts[index].answers), len(prompts[index].input_ids)

    for index in sorted(range(len(prompts)), key=size):
        n_masks, length = size(index)
        padded = (len(chunk) + 1) * length
        wasteful = own >= ENOUGH_TOKENS and padded > MOST_PADDED * (own + length)
        if chunk and (padded > tokens or wasteful or n_masks != size(chunk[0])[0]):
            yield chunk
            chunk, own = [], 0
        chunk.append(index)
        own += length
    if chunk:
        yield chunk
