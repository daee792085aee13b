"""Are all weights of a model numbers?"""

from __future__ import annotations

from transformers import PreTrainedModel

from kn_lightning.errors import InputError


def check_finite(model: PreTrainedModel, name: str) -> None:
    """Raise InputError for a weight that is no number: every result would be none."""
    found = not_finite(model)
    if found is not None:
        weight, bad, n = found
        raise InputError(
            f"model.encoder {name}: {bad} of {n} numbers of {weight} are NaN or infinite: the"
            " weights are damaged; fetch or train them again"
        )


def not_finite(model: PreTrainedModel) -> tuple[str, int, int] | None:
    """The first tensor of a model that has a NaN or infinity.

    Returns:
        Its name, how many of its numbers are none, and how many it has; None where all are.
    """
    for name, tensor in model.state_dict().items():
        # A sum takes a fraction of the time of a look at each.
        if not tensor.sum().isfinite() and (bad := int((~tensor.isfinite()).sum())):
            return name, bad, tensor.numel()
    return None
