"""Architectures that discovery can't see through: one row each, by ``config.model_type``.

A row is for what differs; discovery and the contract check do the rest. Code outside the package
adds its own: ``ROWS["my-type"] = Row(second_map=...)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """How an architecture differs.

    Attributes:
        second_map: regular expression that the names of the maps behind the neurons match in full,
            in all layers and no other module.
        channels_first: those maps get ``[B, I, T]``.
        refused: why neurons are not defined.
    """

    second_map: str | None = None
    channels_first: bool = False
    refused: str | None = None


ROWS: dict[str, Row] = {
    # Four feed-forward blocks a layer, of a width within bottlenecks: each counts as a layer.
    "mobilebert": Row(r".*\.layer\.\d+\.(ffn\.\d+\.)?output\.dense"),
    # A linear map of its own that gives its scale beside the output.
    "ibert": Row(r".*\.layer\.\d+\.output\.dense"),
    # Linear maps as convolutions of width 1.
    "squeezebert": Row(r".*\.layers\.\d+\.output\.conv1d", channels_first=True),
    "funnel": Row(refused="its blocks pool tokens: behind the first, [MASK] has no place"),
    "perceiver": Row(
        refused="its feed-forward maps see latents, not tokens: [MASK] has no neurons"
    ),
    "reformer": Row(refused="its layers are reversible and cut into chunks"),
    "yoso": Row(
        refused="its backward pass is an estimate, not the slope: attributions don't add up"
    ),
}
"""The rows, by ``config.model_type``."""


def remedy(model: Any) -> str:
    """The row to write for a masked LM whose neurons aren't found."""
    return (
        "Name the maps behind the neurons in a row: kn_lightning.encoders.rows.ROWS"
        f'["{model.config.model_type}"] = Row(second_map="regular expression of their names")'
    )
