"""Value vectors of knowledge neurons -> the same, erased or updated (Dai et al. 2021).

A neuron's value vector is what it adds to the hidden state, times its activation: its column of the
feed-forward block's second map. Unlike an edit of activations, an edit of it acts at every position
of every text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import normalize

from kn_lightning.errors import InputError

ERASE_ZERO, ERASE_UNK, UPDATE = "erase_zero", "erase_unk", "update"
LAMBDA_1, LAMBDA_2 = 1.0, 8.0
"""Those of the paper, as its code's README gives them."""
_LARGEST = 1_000_000
"""Of either; far larger ones leave no finite probability."""


@dataclass(frozen=True)
class Erase:
    """v := 0, or v := the embedding of a token, which is ``[UNK]`` in ``erase_unk``.

    The paper (section 5.2) erases by zero, its code also by ``[UNK]`` where a line is commented
    out; EleutherAI's ``knowledge-neurons`` offers both.

    Attributes:
        token: whose embedding; None for zero.
    """

    token: int | None = None


@dataclass(frozen=True)
class Update:
    """v := v + |v| (lambda_2 t' / |t'| - lambda_1 t / |t|), t and t' the two answers' embeddings.

    The paper (section 5.1) writes v - lambda_1 t + lambda_2 t'; its code
    (``src/6_edit_knowledge_sampled.py``) scales both terms by |v| / |t| and |v| / |t'|, with v as
    it was before the edit. Its lambdas of 1 and 8 are of that form, and so is this one. Without
    the norms an edit's size would depend on how large an encoder's embeddings happen to be.

    Attributes:
        old: token of the answer to be forgotten.
        new: token of the answer to be given instead.
        lambda_1: how much of the old answer is taken away.
        lambda_2: how much of the new one is added.
    """

    old: int
    new: int
    lambda_1: float = LAMBDA_1
    lambda_2: float = LAMBDA_2


ValueEdit = Callable[[Tensor], Tensor]
"""An edit of one's own: v := f(v), of all value vectors ``[K, H]`` of a layer's neurons at once."""
WeightEdit = Erase | Update | ValueEdit
WEIGHT_EDITS: dict[str, WeightEdit | None] = {ERASE_ZERO: Erase(), ERASE_UNK: None, UPDATE: None}
"""All that a study can use, by name; None is made anew with the tokens of encoder and answers.

Another one is put there from anywhere before it is asked for: ``WEIGHT_EDITS["halve"] = halve``.
"""


def edited_values(values: Tensor, edit: WeightEdit, embeddings: Tensor | None) -> Tensor:
    """Value vectors after an edit.

    Args:
        values: ``[K, H]``, before.
        edit: what is done to each of them.
        embeddings: ``[V, H]`` of all tokens; not needed to erase by zero.

    Returns:
        ``[K, H]`` of the same type; computed in float32 at the least, and rounded once.

    Raises:
        InputError: an edit of one's own gives another shape.
    """
    if isinstance(edit, Erase) and edit.token is None:
        return values.new_zeros(values.shape)
    # In bf16 a sum of terms of different sizes would lose the smaller ones.
    precise = values.float() if values.dtype.itemsize < 4 else values
    if not isinstance(edit, Erase | Update):
        return _own_edit(edit, precise).to(values.dtype)
    assert embeddings is not None
    if isinstance(edit, Erase):
        return embeddings[edit.token].to(values).expand_as(values)
    # normalize() leaves an embedding of zeros as it is, where a division would give NaN.
    old, new = (normalize(embeddings[token].to(precise), dim=0) for token in (edit.old, edit.new))
    direction = edit.lambda_2 * new - edit.lambda_1 * old
    size: Tensor = precise.norm(dim=1, keepdim=True)
    return (precise + size * direction).to(values.dtype)


def _own_edit(edit: ValueEdit, values: Tensor) -> Tensor:
    found = edit(values.clone())  # it may write into what it gets
    if found.shape != values.shape:
        raise InputError(
            f"a weight edit's value vectors are {list(found.shape)}: give [neurons, hidden size],"
            f" here {list(values.shape)}"
        )
    return found


def check_weight_edits(names: Sequence[str], lambda_1: float, lambda_2: float) -> None:
    """Whether these are names of weight edits, each once, and the lambdas numbers.

    Raises:
        InputError: one isn't.
    """
    if set(names) - set(WEIGHT_EDITS) or len(set(names)) != len(names):
        raise InputError(
            f"edit.weights {list(names)}: choose from {', '.join(WEIGHT_EDITS)}, each once"
        )
    for name, value in (("lambda_1", lambda_1), ("lambda_2", lambda_2)):
        if not abs(value) <= _LARGEST:
            raise InputError(f"edit.{name} {value}: give a finite number, at the most {_LARGEST:,}")
