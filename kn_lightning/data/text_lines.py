"""A file of plain text -> masked sentences for training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from kn_lightning.data.masking import RandomMasking
from kn_lightning.data.modules import MaskedSentences, evenly_kept
from kn_lightning.errors import InputError
from kn_lightning.files import check_whole, checked_path
from kn_lightning.ranks import on_all_ranks


class TextLines(MaskedSentences):
    """Plain text for training, a sentence a line.

    Args:
        path: the file, UTF-8.
        validation_share: share of the lines that is kept for validation, evenly spread.
        batch_size: lines of a training batch.
    """

    def __init__(self, path: Path, validation_share: float = 0.2, batch_size: int = 64) -> None:
        super().__init__(batch_size)
        if not 0 <= validation_share < 1:
            raise InputError(
                f"data.validation_share {validation_share}: give a share from 0 to below 1"
            )
        self.path = checked_path("data.path", path)
        self.validation_share = validation_share
        self._training: list[list[int]] = []
        self._validation: list[list[int]] = []

    def setup(self, stage: str) -> None:
        """Read and encode the lines; a line longer than the encoder takes is cut."""
        on_all_ranks(lambda: self._set_up(stage))

    def _set_up(self, stage: str) -> None:
        if stage == "predict":
            raise InputError("TextLines holds no prompts to study: it is for train.py")
        check_whole("data.path", self.path)
        try:
            lines = self.path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise InputError(
                f"data.path {self.path}: {error.strerror or error}; give a file of text"
            ) from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"data.path {self.path}: not UTF-8 text ({error.reason} at byte {error.start});"
                " save it as UTF-8"
            ) from error
        lines = [line for line in map(str.strip, lines) if line]
        if not lines:
            raise InputError(f"data.path {self.path}: no line of text; give one a sentence")
        encoded = self.encoder.tokenizer(
            lines, truncation=True, max_length=self.encoder.max_tokens
        ).input_ids
        self._training, self._validation = [], []
        for number, ids in enumerate(encoded):
            held_out = evenly_kept(number, self.validation_share)
            (self._validation if held_out else self._training).append(ids)

    def train_dataloader(self) -> DataLoader[Any]:
        """Lines with words masked at random."""
        return self.loader(self._training, RandomMasking(self.encoder), shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Lines kept from training, masked the same way in every epoch."""
        return self.loader(self._validation, RandomMasking(self.encoder, seed=0), shuffle=False)
