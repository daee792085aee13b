"""The record of a figure's words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caption:
    """The words of a figure.

    Attributes:
        title: What is shown, with its n; printed in the figure.
        reading: How to read it; printed below it.
        alt: What it shows, for those who do not see it.
    """

    title: str
    reading: str
    alt: str
