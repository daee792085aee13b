"""The check at load: neurons are where discovery says, and how far the fast way equals the slow.

What holds becomes the encoder's :class:`~kn_lightning.encoders.encoder.Traits`; what must hold and
doesn't is an error. It takes a few forward passes over short probes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kn_lightning.core.edits import RowEdits
from kn_lightning.core.forward import Places, Points, TokenBatch
from kn_lightning.core.probabilities import answer_probability, joint_probability
from kn_lightning.encoders.calls import recorded_calls
from kn_lightning.encoders.encoder import Encoder, Traits
from kn_lightning.encoders.hooked import HookedForward
from kn_lightning.encoders.mixers import known_maps, mixer_names
from kn_lightning.encoders.rows import remedy
from kn_lightning.encoders.staged import StagedForward
from kn_lightning.encoders.surgery import forward_hooks
from kn_lightning.errors import InputError

_ROW_TOKENS = 1 << 12

_log = logging.getLogger(__name__)


def probe_batch(tokenizer: Any, device: torch.device, n_masks: int = 1) -> TokenBatch:
    """Three short rows of two lengths, padded, with one mask or two at different places.

    Raises:
        InputError: the tokenizer makes more masks of them, or none.
    """
    mask = tokenizer.mask_token
    texts = [f"{mask} a b c d e", f"a {mask} b", f"a b c d {mask} e"]
    if n_masks == 2:
        texts = [f"{mask} {mask} b c d e", f"a {mask} {mask}", f"a b {mask} d {mask} e"]
    encoded = [tokenizer(text)["input_ids"] for text in texts]
    width = max(map(len, encoded))
    padding = tokenizer.pad_token_id or 0
    ids = torch.tensor([row + [padding] * (width - len(row)) for row in encoded], device=device)
    lengths = torch.tensor([len(row) for row in encoded], device=device)
    attention = (torch.arange(width, device=device) < lengths[:, None]).long()
    masks = ids == tokenizer.mask_token_id
    if (masks.sum(1) != n_masks).any():
        raise InputError(
            f"{tokenizer.name_or_path}: its tokenizer makes {masks.sum(1).tolist()} masks of"
            f" {texts}; give the tokenizer.json that the model was trained with"
        )
    positions = masks.nonzero()[:, 1].view(-1, n_masks)
    return TokenBatch(ids, attention, positions, torch.zeros_like(positions))


def verified_traits(encoder: Encoder) -> Traits:
    """Check an encoder against the hooked reference and find what its staged forward may rely on.

    Raises:
        InputError: the prompt's other words don't reach the mask, replacing neurons by themselves
            changes the logits, doubling them doesn't, or the answer's probability has no gradient
            by them.
    """
    batch = probe_batch(encoder.tokenizer, encoder.device)
    hooked = HookedForward(encoder)
    with torch.no_grad():
        plain = hooked.logits(batch, {}, mask_only=False)
        masks = torch.full_like(batch.input_ids, encoder.tokenizer.mask_token_id)
        wordless = hooked.logits(replace(batch, input_ids=masks), {}, mask_only=False)
        layers = range(encoder.structure.n_layers)
        same = hooked.logits(batch, {layer: lambda x: x for layer in layers}, mask_only=False)
        doubled = hooked.logits(
            batch, {layer: lambda x: 2 * x for layer in layers}, mask_only=False
        )
    if torch.equal(plain, wordless):
        # MRA's attention gives zeros where its CUDA kernel isn't there.
        raise _refusal(
            encoder,
            "what it predicts is the same whatever the other words are",
            "No row helps: load it where its attention runs, as MRA's does on CUDA alone",
        )
    if not torch.equal(plain, same):
        raise _refusal(encoder, "replacing neurons by themselves changes the logits")
    if torch.equal(plain, doubled):
        raise _refusal(encoder, "doubling all neurons at the mask changes nothing")
    # The likeliest token of each row: a probability that rounding doesn't hide.
    batch = replace(batch, answers=plain.argmax(-1))
    two = probe_batch(encoder.tokenizer, encoder.device, 2)
    with torch.no_grad():
        two = replace(two, answers=hooked.logits(two, {}, mask_only=False).argmax(-1))

    _check_gradients(encoder, batch)
    positionwise = _positionwise(encoder, batch) and _positionwise(encoder, two)
    slow = Traits(positionwise_head=positionwise)
    whole = replace(slow, staged=False)
    if not (encoder.structure.layers and encoder.structure.linear_maps):
        return whole
    try:
        slow = replace(slow, batch_axes=_batch_axes(encoder, batch))
    except ValueError:  # layers are called differently for different numbers of rows
        return whole
    decoded = replace(slow, decoder=_decoder(encoder, batch))
    trouble: str | None = None
    for traits in (*_fast_traits(encoder, decoded, batch), decoded, slow):
        trouble = _disagreement(encoder, traits, batch) or _disagreement(encoder, traits, two)
        if trouble is None:
            return traits
    _log.info("%s: whole forward passes, as %s differ in the staged ones", encoder.name, trouble)
    return whole


def _check_gradients(encoder: Encoder, batch: TokenBatch) -> None:
    """Raise InputError where a layer's neurons don't reach the answer's probability."""
    hooked = HookedForward(encoder, _ROW_TOKENS)
    base = hooked.base(batch)
    everywhere = Places.where(torch.ones_like(base.activations[..., 0, 0]))
    points = Points.of(everywhere, 0.5, base.statistics.probability.dtype)
    gradient = hooked.slope(base, points).gradient.unflatten(0, base.activations.shape[:2])
    finite = gradient.isfinite().flatten(2).all(-1).all(0)
    felt = finite & (gradient != 0).flatten(2).any(-1).any(0)
    if not felt.all():
        layer = int((~felt).nonzero()[0])
        raise _refusal(encoder, f"the answer's probability has no gradient by layer {layer}'s")


def _refusal(encoder: Encoder, problem: str, advice: str | None = None) -> InputError:
    """An error that says what was found, what is wrong with it, and what to do."""
    structure = encoder.structure
    return InputError(
        f"{encoder.name} ({type(encoder.model).__name__}): found {structure.n_layers} layers of"
        f" {structure.n_neurons} neurons, the inputs of {structure.names[0]} ..."
        f" {structure.names[-1]}, but {problem}. {advice or remedy(encoder.model)}"
    )


def _tolerance(encoder: Encoder) -> float:
    return max(1e-3, 32 * torch.finfo(encoder.model.dtype).eps)


def _positionwise(encoder: Encoder, batch: TokenBatch) -> bool:
    """Whether the head gives the same where the last layer's output is cut down to the mask."""
    allowed = replace(encoder, traits=Traits(positionwise_head=True))
    # Of two lengths, as one may happen to be a multiple of a window that Longformer pads to.
    for padding in (0, 1):
        wide = replace(
            batch,
            input_ids=nn.functional.pad(batch.input_ids, (0, padding)),
            attention_mask=nn.functional.pad(batch.attention_mask, (0, padding)),
        )
        try:
            with torch.no_grad():
                logits = HookedForward(allowed).logits(wide, {})
                plain = HookedForward(encoder).logits(wide, {}, mask_only=False)
        except (RuntimeError, ValueError, IndexError):
            return False
        bound = 1e-2 * _tolerance(encoder) * plain.abs().max()
        if logits.shape != plain.shape or not bool((logits - plain).abs().max() <= bound):
            return False
    return True


def _batch_axes(encoder: Encoder, batch: TokenBatch) -> tuple[tuple[int | None, ...], ...]:
    """The batch axis of each argument: the one axis that changes with the number of rows."""
    calls = []
    for rows in ([0, 1], [0, 1, 2]):
        with recorded_calls(encoder) as recorded, torch.no_grad():
            encoder.logits(batch.rows(torch.tensor(rows, device=batch.answers.device)))
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


def _decoder(encoder: Encoder, batch: TokenBatch) -> nn.Linear | None:
    """The vocabulary's linear map, as transformers knows it, where its outputs are the logits."""
    decoder = encoder.model.get_output_embeddings()
    if not isinstance(decoder, nn.Linear):
        return None
    outputs: list[Tensor] = []
    with forward_hooks([(decoder, lambda _, __, output: outputs.append(output))]), torch.no_grad():
        logits = encoder.logits(batch)
    return decoder if len(outputs) == 1 and torch.equal(outputs[0], logits) else None


def _fast_traits(encoder: Encoder, traits: Traits, batch: TokenBatch) -> Iterator[Traits]:
    """Guesses at mixers with their maps, the one that saves most first."""
    for name in mixer_names(encoder, batch):
        layers = encoder.structure.layers
        mixers = tuple(layer.get_submodule(name) for layer in layers)
        tried = replace(traits, mixers=mixers)
        try:
            entries, mask_maps = known_maps(encoder, mixers, batch)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
            entries, mask_maps = (), ()
        if entries or mask_maps:
            yield replace(tried, entries=entries, mask_maps=mask_maps)
        yield tried


def _disagreement(encoder: Encoder, traits: Traits, batch: TokenBatch) -> str | None:
    """What differs between the staged forward and the hooked reference, if anything."""
    staged = StagedForward(replace(encoder, traits=traits), _ROW_TOKENS)
    hooked = HookedForward(encoder)
    # Half of the effect at the most, however coarse the encoder's own weights: all wrong is seen.
    tolerance = min(10 * _tolerance(encoder), 0.5)
    last = encoder.structure.n_layers - 1
    try:
        ours, reference = staged.base(batch, with_slope=True), hooked.base(batch)
        base = reference.statistics.probability
        places = Places.where(torch.ones_like(reference.activations[..., 0, 0]))
        fast = staged.scaled_probability(ours, places, 0.5)
        slow = hooked.scaled_probability(reference, places, 0.5)
        # Measured against the effect of the change, so that a small effect hides no mistake.
        effect = (slow - base[places[0]]).abs().max() + 1e-4 * base.max()
        if not bool((fast - slow).abs().max() <= tolerance * effect):
            return "probabilities after a change"
        ends = Places(part[[0, last]] for part in places)
        for node in (0.5, 1.0):
            slope = hooked.slope(reference, Points.of(ends, node, base.dtype)).gradient
            ours_there = (
                staged.slope(ours, Points.of(ends, node, base.dtype)).gradient
                if node < 1 or ours.end_gradient is None
                else ours.end_gradient[ends]
            )
            gradient = staged.neuron_gradient(ours, ends, ours_there)
            if not bool((gradient - slope).abs().max() <= tolerance * slope.abs().max()):
                return "gradients"
        edits = _probe_edits(encoder, batch)
        after = staged.edited_statistics(ours, torch.arange(len(base)).to(base.device), edits)
        logits = hooked.edited_logits(batch, edits)
        slow = joint_probability(answer_probability(logits, batch.answers))
        effect = (slow - base).abs().max() + 1e-4 * base.max()
        if not bool((after.probability - slow).abs().max() <= tolerance * effect):
            return "probabilities after edits"
    except (RuntimeError, ValueError, IndexError, TypeError, StopIteration) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _probe_edits(encoder: Encoder, batch: TokenBatch) -> RowEdits:
    """Every second neuron of the first and the last layer, in all rows."""
    device = batch.answers.device
    neurons = torch.arange(0, encoder.structure.n_neurons, 2, device=device)
    layers = torch.tensor([0, encoder.structure.n_layers - 1], device=device).unique()
    rows = torch.arange(len(batch.answers), device=device)
    row, layer, neuron = torch.cartesian_prod(rows, layers, neurons).unbind(1)
    return RowEdits(row, layer, neuron, torch.zeros(len(row), device=device))
