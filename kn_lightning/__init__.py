"""Find, edit and evaluate knowledge neurons of concepts in masked language models.

    from kn_lightning import attribute, load_encoder

    encoder = load_encoder("bert-base-uncased")
    result = attribute(encoder, ["[MASK] will grow up to be a cat."], ["kitten"])
    result.scores  # [1, 12, 3072]

The way of the data: prompts, attribution, coarse neurons, refined neurons, edits, probabilities,
report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kn_lightning.attribution import attribute as attribute
    from kn_lightning.encoders.loading import load_encoder as load_encoder

__all__ = ["attribute", "load_encoder"]


def __getattr__(name: str) -> Any:
    """Load torch and transformers with the first use, not with the first import."""
    if name == "attribute":
        from kn_lightning.attribution import attribute

        return attribute
    if name == "load_encoder":
        from kn_lightning.encoders.loading import load_encoder

        return load_encoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
