"""Prompts of any lengths -> their attribution, in climbs that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from kn_lightning.budget import RowBudget
from kn_lightning.core.attribution import layer_attribution, neuron_attribution, path_rules
from kn_lightning.core.quadrature import ADAPTIVE, DEFAULT_TOLERANCE, check_rule
from kn_lightning.data.encoding import encode_prompt
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.forwards import fastest_forward
from kn_lightning.errors import InputError
from kn_lightning.schema import NO_TOKEN, Attribution, EncodedPrompt, Prompt, Skipped

PATHS = ("layer", "neuron")
PROMPTS_SHARE = 4
"""A base pass has this part of a climb's tokens: each of its prompts becomes many rows."""


@dataclass(frozen=True)
class AttributionSettings:
    """How attribution is computed.

    Attributes:
        rule: ``adaptive`` or a fixed quadrature rule.
        nodes: of a fixed rule.
        tolerance: of ``adaptive``: relative error of a prompt's scores, held by their completeness.
        path: ``layer`` (all neurons of a layer grow together) or ``neuron`` (exact ablation of
            candidates).
        candidates: neurons of a prompt that ``path=neuron`` ablates.
        row_tokens: rows x tokens computed together, of rows that climb all layers (those that start
            higher count by the layers above them); None fits them to the memory.

    Raises:
        InputError: settings that don't go together.
    """

    rule: str = ADAPTIVE
    nodes: int | None = None
    tolerance: float = DEFAULT_TOLERANCE
    path: str = "layer"
    candidates: int = 64
    row_tokens: int | None = None

    def __post_init__(self) -> None:
        check_rule(self.rule, self.nodes, self.tolerance)
        if self.path not in PATHS:
            raise InputError(f"unknown path {self.path!r}: choose one of {', '.join(PATHS)}")
        if self.candidates < 1:
            raise InputError(f"candidates {self.candidates}: give at least 1")
        if self.row_tokens is not None and self.row_tokens < 1:
            raise InputError(f"row_tokens {self.row_tokens}: give at least 1")

    def budget(self, encoder: Encoder) -> RowBudget:
        """What is computed together: as told, or what fits into the memory."""
        return RowBudget(self.row_tokens) if self.row_tokens else RowBudget.fitting(encoder)


def attribute(
    encoder: Encoder,
    prompts: list[str],
    answers: list[str],
    rule: str = ADAPTIVE,
    nodes: int | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    several: bool = False,
) -> Attribution:
    """Integrated gradients of each answer's probability in the neurons at its prompt's mask.

    Args:
        encoder: from :func:`~kn_lightning.load_encoder`.
        prompts: B sentences with one ``[MASK]`` each.
        answers: B words, each one token of the vocabulary at that place, or ``several``.
        rule: ``adaptive`` or a fixed quadrature rule.
        nodes: of a fixed rule; 20 unless told.
        tolerance: of ``adaptive``.
        several: answers may be of several tokens: each gets a mask, attribution is at all of them.

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
    return attribute_encoded(encoder, encoded, AttributionSettings(rule, nodes, tolerance))


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
        budget = settings.budget(encoder)
    return budget.run(lambda row_tokens: _attributed(encoder, prompts, settings, row_tokens))


def _attributed(
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    settings: AttributionSettings,
    row_tokens: int,
) -> Attribution:
    forward = fastest_forward(encoder, row_tokens)
    rules = path_rules(settings.rule, settings.nodes, settings.tolerance)
    with_slope = any(1.0 in rule.nodes for rule in rules)
    most = max(len(prompt.answers) for prompt in prompts)
    order: list[int] = []
    parts: list[list[Tensor]] = []
    for chunk in length_chunks(prompts, max(1, row_tokens // PROMPTS_SHARE)):
        base = forward.base(encoder.batch(prompts[i] for i in chunk), with_slope)
        part = layer_attribution(forward, base, rules, settings.tolerance)
        if settings.path == "neuron":
            part = neuron_attribution(forward, base, part, settings.candidates)
        order += chunk
        missing = most - part.argmax.shape[1]
        part = replace(part, argmax=pad(part.argmax, (0, missing), value=NO_TOKEN))
        parts.append([getattr(part, field.name).cpu() for field in fields(Attribution)])
    back = torch.tensor(order).argsort()
    return Attribution(*(torch.cat(column)[back] for column in zip(*parts, strict=True)))


def length_chunks(prompts: Sequence[EncodedPrompt], tokens: int) -> Iterator[list[int]]:
    """Indices of prompts of as many masks, by length, cut at ``tokens`` (prompts x longest)."""
    chunk: list[int] = []

    def size(index: int) -> tuple[int, int]:
        return len(prompts[index].answers), len(prompts[index].input_ids)

    for index in sorted(range(len(prompts)), key=size):
        full = (len(chunk) + 1) * len(prompts[index].input_ids) > tokens
        if chunk and (full or size(index)[0] != size(chunk[0])[0]):
            yield chunk
            chunk = []
        chunk.append(index)
    if chunk:
        yield chunk
