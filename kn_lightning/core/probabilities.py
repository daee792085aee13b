"""Logits at the mask -> what is said of the answer, always in float32."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class AnswerStatistics(NamedTuple):
    """Of each row's answer, all ``[R]``: probability, log-odds, rank (1 = first), argmax token."""

    probability: Tensor
    log_odds: Tensor
    rank: Tensor
    argmax: Tensor


def answer_probability(logits: Tensor, answer: Tensor) -> Tensor:
    """Softmax probability ``[R]`` of ``answer`` ``[R]`` under ``logits`` ``[R, V]``."""
    # float() first: in bf16 or fp16 a softmax over the vocabulary loses the small probabilities.
    log_probability = torch.log_softmax(logits.float() if logits.dtype.itemsize < 4 else logits, -1)
    return log_probability.gather(-1, answer[:, None])[:, 0].exp()


def answer_statistics(logits: Tensor, answer: Tensor) -> AnswerStatistics:
    """Probability, log-odds, rank and argmax of ``answer`` ``[R]`` under ``logits`` ``[R, V]``."""
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    own = logits.gather(-1, answer[:, None])
    # log P/(1-P) against the log-sum of all other tokens: exact where 1-P would round to 0.
    others = logits.scatter(-1, answer[:, None], -torch.inf).logsumexp(-1)
    return AnswerStatistics(
        probability=answer_probability(logits, answer),
        log_odds=own[:, 0] - others,
        rank=(logits > own).sum(-1) + 1,
        argmax=logits.argmax(-1),
    )
