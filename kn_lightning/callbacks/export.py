"""Keeps the trained encoder as a folder that transformers, and ``--model.encoder``, can load."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from kn_lightning.encoders.finite import not_finite
from kn_lightning.errors import Diverged, InputError
from kn_lightning.files import checked_path, named_errors
from kn_lightning.own_files import check_no_run, check_not_of_a_run
from kn_lightning.ranks import on_all_ranks


class ExportCallback(Callback):
    """Save model and tokenizer when training ends: safetensors, no pickles.

    Args:
        folder: where; files of an earlier export there are replaced.
    """

    def __init__(self, folder: Path = Path("checkpoints/encoder")) -> None:
        self.folder = checked_path("export.folder", folder)
        check_no_run("export.folder", self.folder)
        check_not_of_a_run("export.folder", self.folder)
        self._made: list[Path] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the folder now: at the end it would be too late to learn that it can't be."""
        on_all_ranks(self._make if trainer.is_global_zero else lambda: None)

    def _make(self) -> None:
        missing = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"export.folder {self.folder}: {error.strerror}") from error
        self._made = missing

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Rank 0 saves.

        Raises:
            Diverged: a weight is NaN or infinite; nothing is saved.
        """
        encoder = pl_module.encoder
        found = not_finite(encoder.model)  # type: ignore[arg-type, union-attr]
        if found is not None:
            if not trainer.is_global_zero:  # whose weights are the same
                raise SystemExit(1)
            name, bad, n = found
            raise Diverged(
                f"error: the training has diverged: behind step {trainer.global_step} {bad} of {n}"
                f" numbers of {name} are NaN or infinite, so nothing goes to {self.folder}; give a"
                f" lower --model.learning_rate ({pl_module.learning_rate} now), or"
                " --trainer.gradient_clip_val 1.0"
            )
        if trainer.is_global_zero:
            with named_errors(self.folder):
                encoder.model.save_pretrained(self.folder)  # type: ignore[union-attr, operator]
                encoder.tokenizer.save_pretrained(self.folder)  # type: ignore[union-attr, operator]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raise InputError where a training has ended before its first step."""
        if stage == TrainerFn.FITTING and trainer.global_step == 0:
            on_all_ranks(self._nothing_trained)

    def _nothing_trained(self) -> None:
        raise InputError(
            "the training has ended before its first step: give a larger --trainer.max_time"
        )

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """The folder goes, where it is empty and was made for this training."""
        for path in self._made:
            with suppress(OSError):
                path.rmdir()
