"""The fastest forward that an encoder has."""

from __future__ import annotations

from typing import Any

from kn_lightning.core.forward import Forward
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.hooked import HookedForward
from kn_lightning.encoders.staged import StagedForward


def fastest_forward(encoder: Encoder, row_tokens: int) -> Forward[Any]:
    """Climbs, where they are what whole forward passes give, and else those.

    Args:
        encoder: with verified traits.
        row_tokens: rows x tokens computed together.
    """
    kind = StagedForward if encoder.traits.staged else HookedForward
    return kind(encoder, row_tokens)
