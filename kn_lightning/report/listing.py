"""The record of a table of texts, as both templates print it."""

from __future__ import annotations

from dataclasses import dataclass

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """A table of texts.

    Attributes:
        title: What it lists.
        columns: Heads of the columns.
        rows: As many texts a row as there are columns.
        n_words: How many columns from the left hold words; the rest hold numbers.
        note: What a reader must know to read it; may be empty.
        folded: Whether the page shows its title alone until it is opened.
    """

    title: str
    columns: Row
    rows: tuple[Row, ...]
    n_words: int = 1
    note: str = ""
    folded: bool = False
