"""Keeps the trained encoder as a folder that transformers, and ``--model.encoder``, can load."""

from __future__ import annotations

from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from kn_lightning.errors import InputError
from kn_lightning.files import checked_path


class ExportCallback(Callback):
    """Save model and tokenizer when training ends: safetensors, no pickles.

    Args:
        folder: where; files of an earlier export there are replaced.
    """

    def __init__(self, folder: Path = Path("checkpoints/encoder")) -> None:
        self.folder = checked_path("export.folder", folder)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the folder now: at the end it would be too late to learn that it can't be."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"export.folder {self.folder}: {error.strerror}") from error

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Rank 0 saves."""
        if trainer.is_global_zero:
            encoder = pl_module.encoder
            encoder.model.save_pretrained(self.folder)  # type: ignore[union-attr, operator]
            encoder.tokenizer.save_pretrained(self.folder)  # type: ignore[union-attr, operator]
