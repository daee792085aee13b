"""Logits at the mask -> what is said of the answer, always in float32.

The ``decoded_`` functions take the vocabulary's linear map along with its input. They walk the
vocabulary in blocks, with the running maximum and sums that make a softmax of it, so that no
``[R, V]`` tensor is ever there; small blocks also keep the matrix products in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid

_BLOCK = 2048


class AnswerStatistics(NamedTuple):
    """Of tokens ``[...]``: probability, log-odds, rank (1 = first) and the most probable token.

    Of whole answers, which :func:`joint_statistics` gives: ``[R]``, and the most probable tokens at
    each mask ``[R, M]``.
    """

    probability: Tensor
    log_odds: Tensor
    rank: Tensor
    argmax: Tensor

    def empty(self, n_rows: int) -> AnswerStatistics:
        """Room for the same of so many rows."""
        return AnswerStatistics(*(part.new_empty(n_rows, *part.shape[1:]) for part in self))


def joint_probability(probability: Tensor) -> Tensor:
    """Of answers ``[R]`` whose tokens have ``probability`` ``[R, M]``: their product."""
    return probability.prod(-1)


def joint_statistics(tokens: AnswerStatistics) -> AnswerStatistics:
    """Of answers, each part ``[R]`` (argmax ``[R, M]``), whose tokens have these of ``[R, M]``.

    An answer ranks as its worst token does. With p_m of its tokens, 1 - P is the sum over m of
    (1 - p_m) p_1 ... p_(m-1), in which nothing cancels out.
    """
    if tokens.rank.shape[-1] == 1:
        log_odds = tokens.log_odds[..., 0]
    else:
        own, other = logsigmoid(tokens.log_odds), logsigmoid(-tokens.log_odds)
        log_odds = own.sum(-1) - (other + own.cumsum(-1) - own).logsumexp(-1)
    return AnswerStatistics(
        joint_probability(tokens.probability), log_odds, tokens.rank.amax(-1), tokens.argmax
    )


class Decoder(NamedTuple):
    """The vocabulary's linear map: weight ``[V, D]`` and bias ``[V]`` or None."""

    weight: Tensor
    bias: Tensor | None

    def logits(
        self, features: Tensor, answer: Tensor, own: Tensor
    ) -> Iterator[tuple[slice, Tensor]]:
        """Blocks of the vocabulary with their logits ``[R, block]`` for features ``[R, D]``.

        ``own`` ``[R]`` stands for the logits of the answers, which another shape of the matrix
        product would round another way.
        """
        for start in range(0, len(self.weight), _BLOCK):
            block = slice(start, min(start + _BLOCK, len(self.weight)))
            bias = None if self.bias is None else self.bias[block].to(features.dtype)
            weight = self.weight[block].to(features.dtype)
            with torch.autocast(features.device.type, enabled=False):
                logits = torch.nn.functional.linear(features, weight, bias)
            column = (answer - start).clamp(0, logits.shape[1] - 1)[:, None]
            inside = (answer >= start) & (answer < block.stop)
            there = torch.where(inside, own, logits.gather(1, column)[:, 0])
            yield block, logits.scatter_(1, column, there[:, None])

    def own_logit(self, features: Tensor, answer: Tensor) -> Tensor:
        """Logits ``[R]`` of the answers ``[R]``."""
        own = (features * self.weight[answer].to(features.dtype)).sum(-1)
        return own if self.bias is None else own + self.bias[answer].to(features.dtype)


def answer_probability(logits: Tensor, answer: Tensor) -> Tensor:
    """Softmax probability ``[...]`` of ``answer`` ``[...]`` under ``logits`` ``[..., V]``."""
    # float() first: in bf16 or fp16 a softmax over the vocabulary loses the small probabilities.
    log_probability = torch.log_softmax(logits.float() if logits.dtype.itemsize < 4 else logits, -1)
    return log_probability.gather(-1, answer[..., None])[..., 0].exp()


def answer_statistics(logits: Tensor, answer: Tensor) -> AnswerStatistics:
    """Of the tokens ``answer`` ``[...]`` under ``logits`` ``[..., V]``."""
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    own = logits.gather(-1, answer[..., None])
    # log P/(1-P) against the log-sum of all other tokens: exact where 1-P would round to 0.
    others = logits.scatter(-1, answer[..., None], -torch.inf).logsumexp(-1)
    return AnswerStatistics(
        probability=answer_probability(logits, answer),
        log_odds=own[..., 0] - others,
        rank=(logits > own).sum(-1) + 1,
        argmax=logits.argmax(-1),
    )


def decoded_statistics(features: Tensor, decoder: Decoder, answer: Tensor) -> AnswerStatistics:
    """:func:`answer_statistics` of ``decoder``'s logits for ``features`` ``[R, D]``."""
    own = decoder.own_logit(features, answer)
    others = torch.full_like(own, -torch.inf)
    rank = torch.ones_like(answer)
    best, argmax = own.clone(), answer.clone()
    for block, logits in decoder.logits(features, answer, torch.full_like(own, -torch.inf)):
        others = torch.logaddexp(others, logits.logsumexp(-1))
        rank += (logits > own[:, None]).sum(-1)
        highest, place = logits.max(-1)
        argmax = torch.where(highest > best, place + block.start, argmax)
        best = torch.maximum(best, highest)
    log_odds = own - others
    return AnswerStatistics(log_odds.sigmoid(), log_odds, rank, argmax)


def decoded_probability(features: Tensor, decoder: Decoder, answer: Tensor) -> Tensor:
    """:func:`answer_probability` of ``decoder``'s logits for ``features`` ``[R, D]``.

    Differentiable once, by the features alone.
    """
    with torch.autocast(features.device.type, enabled=False):
        probability: Tensor = _DecodedProbability.apply(features, *decoder, answer)  # type: ignore[no-untyped-call]
    return probability


class _DecodedProbability(torch.autograd.Function):
    """dP/dx = P (W[answer] - sum over v of softmax_v W[v]), summed up along with P itself."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, answer: Tensor
    ) -> Tensor:
        decoder = Decoder(weight, bias)
        own = decoder.own_logit(features, answer)
        largest = own
        total = torch.zeros_like(own)
        mean = torch.zeros_like(features) if features.requires_grad else None
        for block, logits in decoder.logits(features, answer, own):
            highest = torch.maximum(largest, logits.amax(-1))
            shrink = (largest - highest).exp_()
            exponential = logits.sub_(highest[:, None]).exp_()
            total = total * shrink + exponential.sum(-1)
            if mean is not None:
                mean = torch.addmm(
                    mean * shrink[:, None], exponential, weight[block].to(mean.dtype)
                )
            largest = highest
        probability = (own - largest).exp() / total
        if mean is not None:
            slope = weight[answer].to(mean.dtype) - mean / total[:, None]
            ctx.save_for_backward(probability[:, None] * slope)
        return probability

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return gradient[:, None] * slope, None, None, None
