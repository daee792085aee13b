"""LightningCLI glue: the flags of ``analyze.py`` and ``train.py``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from kn_lightning.callbacks.edit import EditCallback
from kn_lightning.callbacks.export import ExportCallback
from kn_lightning.callbacks.progress import ProgressCallback
from kn_lightning.callbacks.refine import RefineCallback
from kn_lightning.callbacks.write import WriteCallback
from kn_lightning.data.modules import MaskedSentences, PromptGroups
from kn_lightning.errors import InputError
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.run_folder import RunFolder

_CONFIGS = Path(__file__).parent.parent / "configs"


class _ScriptCLI(LightningCLI):
    """What both scripts share: one module, any data class of a kind, defaults from ``configs/``."""

    def __init__(self, data: type[MaskedSentences], defaults: str) -> None:
        super().__init__(
            MaskedLanguageModel,
            data,
            subclass_mode_data=True,
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={
                "default_config_files": [str(_CONFIGS / defaults)],
                # Raised, not printed after pages of usage: run_command says them in one line.
                "exit_on_error": False,
            },
        )


class AnalyzeCLI(_ScriptCLI):
    """Flags of a study. The stages behind attribution are callbacks with a section of their own."""

    def __init__(self) -> None:
        super().__init__(PromptGroups, "analyze.yaml")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """``--refine``, ``--edit``, ``--write``, ``--progress`` and ``--run_dir``."""
        parser.add_lightning_class_args(RefineCallback, "refine")
        parser.add_lightning_class_args(EditCallback, "edit")
        parser.add_lightning_class_args(WriteCallback, "write")
        parser.add_lightning_class_args(ProgressCallback, "progress")
        parser.add_argument(
            "--run_dir",
            type=Path | None,
            default=None,
            help="results; the same study is resumed there (default: its own folder in runs/)",
        )
        parser.link_arguments("edit.holdout", "refine.holdout")
        parser.link_arguments("edit.seed", "refine.seed")

    def instantiate_classes(self) -> None:
        """Tells the writer where results go, and the settings as they are kept."""
        if self.config.trainer.inference_mode:
            raise InputError("trainer.inference_mode true: attribution needs gradients; use false")
        config = yaml.safe_load(self.parser.dump(self.config, skip_link_targets=False))
        for key in ("progress", "config", "run_dir"):
            config.pop(key, None)
        super().instantiate_classes()
        self.run_folder = RunFolder(self.config.run_dir or _default_run_dir(config))
        self.config_init.write.begin(self.run_folder, config)


class TrainCLI(_ScriptCLI):
    """Flags of masked-LM training."""

    def __init__(self) -> None:
        super().__init__(MaskedSentences, "train.yaml")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """``--export.folder``."""
        parser.add_lightning_class_args(ExportCallback, "export")


def _default_run_dir(config: dict[str, Any]) -> Path:
    """A folder for each study: the same command goes on where it was, another one starts afresh."""
    sections = {key: config.get(key) for key in ("model", "data", "refine", "edit")}
    digest = hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()
    encoder = Path(str(config["model"]["encoder"])).name
    return (
        Path("runs") / f"{encoder}-{config['data']['class_path'].rpartition('.')[2]}-{digest[:8]}"
    )
