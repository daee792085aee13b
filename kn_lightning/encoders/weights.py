"""Value vectors of neurons in a model, edited within a block and put back bit by bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kn_lightning.core.weights import (
    ERASE_UNK,
    ERASE_ZERO,
    LAMBDA_1,
    LAMBDA_2,
    UPDATE,
    WEIGHT_EDITS,
    Erase,
    Update,
    WeightEdit,
    edited_values,
)
from kn_lightning.encoders.neurons import indices_by_layer
from kn_lightning.errors import InputError

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder
    from kn_lightning.schema import Neuron


@contextmanager
def edited_weights(
    encoder: Encoder, neurons: Iterable[Neuron | tuple[int, int]], edit: WeightEdit
) -> Iterator[None]:
    """:meth:`~kn_lightning.encoders.encoder.Encoder.weights_edited`, which explains it."""
    columns = indices_by_layer(encoder.structure, neurons)
    weights = [_value_weight(encoder, layer) for layer in columns]
    by_token = isinstance(edit, Update) or (isinstance(edit, Erase) and edit.token is not None)
    embeddings = token_embeddings(encoder) if by_token else None
    before: list[Tensor] = []
    # Under no_grad, and the block itself outside of it: what runs there is the caller's affair.
    try:
        with torch.no_grad():
            for weight, indices in zip(weights, columns.values(), strict=True):
                values = weight[:, indices]  # a copy, as indices are a list
                before.append(values)
                weight[:, indices] = edited_values(values.T, edit, embeddings).T
        yield
    finally:
        # Copied back, not added back, which would leave the rounding of two sums. Blocks end in
        # the order opposite to that in which they began, so each finds what it left.
        with torch.no_grad():
            for weight, indices, values in zip(weights, columns.values(), before, strict=False):
                weight[:, indices] = values.to(weight.device)


def weight_edit(
    encoder: Encoder,
    name: str,
    old: int | None = None,
    new: int | None = None,
    lambda_1: float = LAMBDA_1,
    lambda_2: float = LAMBDA_2,
) -> WeightEdit:
    """The weight edit that a name stands for; ``update`` needs the tokens of both answers."""
    edit = WEIGHT_EDITS[name]
    if edit is not None:
        return edit
    if name == ERASE_UNK:
        return Erase(_unknown_token(encoder))
    assert old is not None
    assert new is not None
    return Update(old, new, lambda_1, lambda_2)


def check_editable(encoder: Encoder, names: Iterable[str]) -> None:
    """Whether these weight edits are defined for all neurons of an encoder.

    Args:
        encoder: to be edited.
        names: of weight edits.

    Raises:
        InputError: one isn't.
    """
    for layer in range(encoder.structure.n_layers):
        _value_weight(encoder, layer)
    for name in names:
        if name in (ERASE_UNK, UPDATE):
            token_embeddings(encoder)
        if name == ERASE_UNK:
            _unknown_token(encoder)


def token_embeddings(encoder: Encoder) -> Tensor:
    """Embeddings ``[V, H]`` of the vocabulary, in the space of the value vectors.

    Raises:
        InputError: the encoder has none there.
    """
    try:
        found = encoder.model.get_input_embeddings()
    except NotImplementedError:  # transformers finds none
        found = None
    width = found.weight.shape[-1] if isinstance(found, nn.Embedding) else None
    # Both: within a bottleneck (MobileBERT's) maps may have the embeddings' width by chance.
    hidden = {encoder.structure.hidden_size, encoder.model.config.hidden_size}
    if {width} != hidden:
        raise InputError(
            f"{encoder.name}: its embeddings have the size {width}, its hidden states"
            f" {' and '.join(map(str, sorted(hidden)))}: no token's embedding fits a value vector;"
            f" use {ERASE_ZERO} alone"
        )
    assert isinstance(found, nn.Embedding)
    return found.weight.detach()


def _unknown_token(encoder: Encoder) -> int:
    token: int | None = encoder.tokenizer.unk_token_id
    if token is None:
        raise InputError(
            f"{encoder.name}: {ERASE_UNK}: its tokenizer has no unknown token; use {ERASE_ZERO}"
        )
    return token


def value_vectors(encoder: Encoder, neurons: Sequence[Neuron]) -> Tensor:
    """Value vectors ``[N, H]`` of neurons; layers may share them.

    Raises:
        InputError: a neuron that the encoder doesn't have, or one without a value vector.
    """
    indices_by_layer(encoder.structure, neurons)
    weights = {
        layer: _linear_weight(encoder, layer, "read; leave refine.values out").detach()
        for layer in {neuron.layer for neuron in neurons}
    }
    return torch.stack([weights[layer][:, index] for layer, index in neurons])


def _value_weight(encoder: Encoder, layer: int) -> Tensor:
    """The weight ``[H, I]`` whose columns are a layer's value vectors, and no other layer's."""
    projections, names = encoder.structure.projections, encoder.structure.names
    weight = _linear_weight(encoder, layer, "edited; edit activations instead")
    sharing = [
        number
        for number, other in enumerate(projections)
        if isinstance(other, nn.Linear) and other.weight is weight
    ]
    if len(sharing) > 1:
        raise InputError(
            f"{encoder.name}: layers {', '.join(map(str, sharing))} share one map"
            f" ({names[layer]}): an edit of its weights would act in all of them; edit activations"
            " instead"
        )
    return weight


def _linear_weight(encoder: Encoder, layer: int, done: str) -> Tensor:
    """The weight ``[H, I]`` whose columns are a layer's value vectors, which are to be ``done``."""
    projection = encoder.structure.projections[layer]
    if not (isinstance(projection, nn.Linear) and projection.weight.is_floating_point()):
        raise InputError(
            f"{encoder.name}: {encoder.structure.names[layer]}, the second map of layer {layer}, is"
            f" a {type(projection).__name__} and no plain linear map: its neurons have no value"
            f" vectors to be {done}"
        )
    return projection.weight
