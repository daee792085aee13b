"""The check at load: neurons are where discovery says, and the fast way equals the slow.

What holds becomes the encoder's :class:`~kn_lightning.encoders.encoder.Traits`; what must hold and
doesn't is an error. It takes a few forward passes over short probes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kn_lightning.core.attribution import Places, TokenBatch
from kn_lightning.core.quadrature import quadrature
from kn_lightning.encoders.calls import recorded_calls
from kn_lightning.encoders.encoder import Encoder, Traits
from kn_lightning.encoders.hooked import HookedForward, rows_of
from kn_lightning.encoders.staged import StagedForward
from kn_lightning.encoders.surgery import forward_hooks, hidden_of
from kn_lightning.errors import InputError

_ROW_TOKENS = 1 << 12


def probe_batch(tokenizer: Any, device: torch.device) -> TokenBatch:
    """Three short rows of two lengths, padded, with the mask at different places."""
    mask = tokenizer.mask_token
    texts = [f"{mask} a b c d e", f"a {mask} b", f"a b c d {mask} e"]
    encoded = [tokenizer(text)["input_ids"] for text in texts]
    width = max(map(len, encoded))
    padding = tokenizer.pad_token_id or 0
    ids = torch.tensor([row + [padding] * (width - len(row)) for row in encoded], device=device)
    lengths = torch.tensor([len(row) for row in encoded], device=device)
    attention = (torch.arange(width, device=device) < lengths[:, None]).long()
    position = (ids == tokenizer.mask_token_id).int().argmax(1)
    return TokenBatch(ids, attention, position, torch.zeros_like(position))


def verified_traits(encoder: Encoder) -> Traits:
    """Check an encoder against the hooked reference and find what its staged forward may rely on.

    Raises:
        InputError: replacing neurons by themselves changes the logits, or the staged forward
            disagrees with the hooked reference.
    """
    batch = probe_batch(encoder.tokenizer, encoder.device)
    hooked = HookedForward(encoder)
    with torch.no_grad():
        plain = hooked.logits(batch, {}, mask_only=False)
        layers = range(encoder.structure.n_layers)
        same = hooked.logits(batch, {layer: lambda x: x for layer in layers}, mask_only=False)
        doubled = hooked.logits(
            batch, {layer: lambda x: 2 * x for layer in layers}, mask_only=False
        )
    if not torch.equal(plain, same):
        raise InputError(f"{encoder.name}: replacing neurons by themselves changes the logits")
    if torch.equal(plain, doubled):
        raise InputError(f"{encoder.name}: doubling all neurons at the mask changes nothing")
    # The likeliest token of each row: a probability that rounding doesn't hide.
    batch = replace(batch, answer=plain.argmax(-1))

    traits = Traits(
        positionwise_head=_positionwise(encoder, batch, plain),
        batch_axes=_batch_axes(encoder, batch),
    )
    for mixers in _mixer_candidates(encoder, batch):
        tried = replace(traits, mixers=mixers)
        if _disagreement(encoder, tried, batch) is None:
            return tried
    trouble = _disagreement(encoder, traits, batch)
    if trouble is not None:
        raise InputError(
            f"{encoder.name} ({type(encoder.model).__name__}): the staged forward disagrees with"
            f" the hooked reference ({trouble}); this architecture is not supported"
        )
    return traits


def _tolerance(encoder: Encoder) -> float:
    return max(1e-3, 32 * torch.finfo(encoder.model.dtype).eps)


def _positionwise(encoder: Encoder, batch: TokenBatch, plain: Tensor) -> bool:
    allowed = replace(encoder, traits=Traits(positionwise_head=True))
    try:
        with torch.no_grad():
            logits = HookedForward(allowed).logits(batch, {})
    except (RuntimeError, ValueError, IndexError):
        return False
    scale = plain.abs().max()
    return logits.shape == plain.shape and bool(
        (logits - plain).abs().max() <= 1e-2 * _tolerance(encoder) * scale
    )


def _batch_axes(encoder: Encoder, batch: TokenBatch) -> tuple[tuple[int | None, ...], ...]:
    """The batch axis of each argument: the one axis that changes with the number of rows."""
    calls = []
    for rows in ([0, 1], [0, 1, 2]):
        with recorded_calls(encoder) as recorded, torch.no_grad():
            encoder.logits(rows_of(batch, torch.tensor(rows, device=batch.answer.device)))
        calls.append(recorded)

    def axis(two: Any, three: Any) -> int | None:
        if not isinstance(two, Tensor):
            return None
        sizes = zip(two.shape, three.shape, strict=True)
        changed = [i for i, (a, b) in enumerate(sizes) if (a, b) == (2, 3)]
        return changed[0] if changed else None

    return tuple(
        tuple(axis(a, b) for a, b in zip(two.leaves, three.leaves, strict=True))
        for two, three in zip(*calls, strict=True)
    )


def _mixer_candidates(encoder: Encoder, batch: TokenBatch) -> Iterator[tuple[nn.Module, ...]]:
    """Children of the layers that give hidden states, in the order in which they run."""
    first = encoder.structure.layers[0]
    outputs: list[tuple[str, Any]] = []

    def keep(name: str) -> Any:
        return lambda _, __, output: outputs.append((name, output))

    children = [(child, keep(name)) for name, child in first.named_children()]
    with forward_hooks(children), torch.no_grad():
        encoder.logits(batch)
    shape = (*batch.input_ids.shape, encoder.structure.hidden_size)
    for name, output in outputs:
        if hidden_of(output).shape == shape and all(
            hasattr(layer, name) for layer in encoder.structure.layers
        ):
            yield tuple(getattr(layer, name) for layer in encoder.structure.layers)


def _disagreement(encoder: Encoder, traits: Traits, batch: TokenBatch) -> str | None:
    """What differs between the staged forward and the hooked reference, if anything."""
    tried = replace(encoder, traits=traits)
    staged, hooked = StagedForward(tried, _ROW_TOKENS), HookedForward(encoder)
    tolerance = _tolerance(encoder)
    n_layers = encoder.structure.n_layers
    try:
        ours, reference = staged.base(batch), hooked.base(batch)
        places = Places.where(torch.ones(len(batch.answer), n_layers, device=batch.answer.device))
        base = reference.logits.float().softmax(-1).gather(1, batch.answer[:, None])[places[0], 0]
        fast = staged.scaled_probability(ours, places, 0.5)
        slow = hooked.scaled_probability(reference, places, 0.5)
        # Measured against the effect of the change, so that a small effect hides no mistake.
        effect = (slow - base).abs().max() + 1e-4 * base.max()
        if not bool((fast - slow).abs().max() <= 10 * tolerance * effect):
            return "probabilities after a change"
        ends = Places(part[[0, n_layers - 1]] for part in places)
        rule = quadrature("gauss_legendre", 2)
        fast = staged.integrated_gradient(ours, ends, rule)
        slow = hooked.integrated_gradient(reference, ends, rule)
        if not bool((fast - slow).abs().max() <= 10 * tolerance * slow.abs().max()):
            return "gradients"
    except (RuntimeError, ValueError, IndexError, TypeError, StopIteration) as error:
        return f"{type(error).__name__}: {error}"
    return None
