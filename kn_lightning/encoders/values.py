"""What value vectors say: a neuron's column of the second map through the model's own head.

A neuron adds its activation times its value vector to the hidden state (Geva et al. 2021). The head
that turns the last hidden state into logits turns such a vector into logits too, which is the logit
lens (nostalgebraist 2020). It is an approximation: value vectors of lower layers are read as if all
layers above passed them on unchanged, and a head with a transform and norms (BERT's) is no linear
map, so what it says to a vector alone isn't what the vector adds to what it says to a sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from kn_lightning.encoders.calls import recorded_calls
from kn_lightning.encoders.contract import probe_batch
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.head import Head
from kn_lightning.encoders.surgery import hidden_of
from kn_lightning.encoders.weights import value_vectors
from kn_lightning.errors import InputError
from kn_lightning.schema import Neuron

_LOGITS = 1 << 22
"""Logits that are held at once: 16 MiB in float32."""


class Promoted(NamedTuple):
    """What N value vectors say, and how K tokens fare.

    Attributes:
        promoted: tokens with the largest logits, the largest first, ``[N, K]``.
        demoted: those with the smallest, the smallest first, ``[N, K]``.
        ranks: of the tokens asked for, one list a vector; 1 is the most promoted.
    """

    promoted: Tensor
    demoted: Tensor
    ranks: list[list[int]]


class ValueLens:
    """The head of an encoder, applied to value vectors alone.

    Args:
        encoder: to be read.

    Raises:
        InputError: its head can't be applied to a single vector, or its neurons have none.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        for layer in range(encoder.structure.n_layers):
            value_vectors(encoder, [Neuron(layer, 0)])
        if not (encoder.structure.layers and encoder.traits.positionwise_head):
            raise _refusal(encoder, "its head can't be applied to a single vector")
        batch = probe_batch(encoder.tokenizer, encoder.device)
        self._batch = batch.rows(torch.zeros_like(batch.answers[:1, 0]))
        with torch.no_grad(), recorded_calls(encoder) as calls:
            encoder.logits(self._batch)
        width = hidden_of(calls[-1].output).shape[-1]
        if width != encoder.structure.hidden_size:
            raise _refusal(
                encoder,
                f"value vectors have the size {encoder.structure.hidden_size}, and what its head"
                f" reads {width}",
            )
        self._calls = [call.detached() for call in calls]
        self._head = Head(encoder)
        self._vocabulary = self.logits([Neuron(0, 0)]).shape[1]

    @torch.no_grad()
    def logits(self, neurons: Sequence[Neuron]) -> Tensor:
        """What the value vectors of ``neurons`` promote, ``[N, V]``: (head(v) - head(-v)) / 2.

        Half the difference, because of what a head says to any vector, most of all by the
        decoder's bias: frequent tokens would be promoted by all neurons. It drops out, and the sign
        of v counts in full. Of a linear head nothing is left but Geva et al.'s E v.

        Returns:
            float32, or float64 of a float64 encoder.
        """
        values = value_vectors(self._encoder, neurons)[:, None]
        there, back = (
            self._head.features(self._calls, self._batch, signed)[:, 0]
            for signed in (values, -values)
        )
        wide = torch.promote_types(there.dtype, torch.float32)
        odd = (there.to(wide) - back.to(wide)) / 2
        decoder = self._encoder.traits.decoder
        if decoder is None:
            return odd
        with torch.autocast(odd.device.type, enabled=False):
            return linear(odd, decoder.weight.to(wide))  # the bias drops out

    def promoted(
        self, neurons: Sequence[Neuron], tokens: Sequence[Sequence[int]], k: int
    ) -> Promoted:
        """What ``neurons`` promote and demote, and where ``tokens`` of each are among it.

        Args:
            neurons: N of them.
            tokens: for each neuron those whose rank is asked for.
            k: K, tokens at either end; fewer where the vocabulary has no more.
        """
        k = min(k, self._vocabulary)
        found: list[tuple[Tensor, Tensor]] = []
        ranks: list[list[int]] = []
        for start, stop in self._chunks(len(neurons)):
            logits = self.logits(neurons[start:stop])
            ends = (logits.topk(k, largest=largest).indices.cpu() for largest in (True, False))
            found.append((next(ends), next(ends)))
            for row, asked in zip(logits, tokens[start:stop], strict=True):
                ranks.append([int((row > row[token]).sum()) + 1 for token in asked])
        empty = torch.empty(0, k, dtype=torch.long)
        promoted, demoted = (torch.cat([empty, *part]) for part in _columns(found))
        return Promoted(promoted, demoted, ranks)

    def _chunks(self, n: int) -> Iterator[tuple[int, int]]:
        size = max(1, _LOGITS // self._vocabulary)
        return ((start, min(start + size, n)) for start in range(0, n, size))


def _columns(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _refusal(encoder: Encoder, problem: str) -> InputError:
    return InputError(
        f"refine.values: {encoder.name} ({type(encoder.model).__name__}): {problem}: what its value"
        " vectors promote can't be read; leave the flag out"
    )
