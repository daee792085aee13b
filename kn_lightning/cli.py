"""LightningCLI glue: the flags of ``analyze.py`` and ``train.py``."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.mpi import MPIEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException

from kn_lightning.callbacks.edit import EditCallback
from kn_lightning.callbacks.export import ExportCallback
from kn_lightning.callbacks.formation import FormationCallback
from kn_lightning.callbacks.progress import ProgressCallback
from kn_lightning.callbacks.refine import RefineCallback
from kn_lightning.callbacks.track import TrackCallback
from kn_lightning.callbacks.values import ValueCallback
from kn_lightning.callbacks.weights import WeightCallback
from kn_lightning.callbacks.write import WriteCallback
from kn_lightning.closing import stopped_training
from kn_lightning.config_files import read_configs, with_empty_sections
from kn_lightning.data import sources as sources  # --data finds its classes by name
from kn_lightning.data import text_lines as text_lines
from kn_lightning.data.modules import MaskedSentences, PromptGroups
from kn_lightning.environment import study_settings
from kn_lightning.errors import InputError, Stopped
from kn_lightning.examples import examples
from kn_lightning.help_format import HelpedParser
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.parsing import refusing
from kn_lightning.ranks import BAD_INPUT
from kn_lightning.remote_folder import run_folder
from kn_lightning.report.language import ENGLISH, check_language, languages
from kn_lightning.stopping import answered_by_lightning
from kn_lightning.trainer_settings import (
    check_launch,
    check_processes,
    check_settings,
    check_trains,
    in_a_users_words,
    of_a_setting,
    refuse_tasks,
)
from kn_lightning.wandb_run import hide_secrets

_NAMES_ENCODER = ("--model.encoder", "--model", "--config", "-c")
_CONFIGS = Path(__file__).parent.parent / "configs"


class _Parser(HelpedParser, LightningArgumentParser):
    """Lightning's, with help in a user's words, and config files whose sections may be empty."""

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        """What a config file sets."""
        names = {action.dest.partition(".") for action in self._actions}
        sections = {name for name, dot, _ in names if dot} | {"data"}
        content = with_empty_sections(content, sections)
        settings: Namespace = super().parse_string(content, *args, **kwargs)
        return settings


class _ScriptCLI(LightningCLI):
    """What both scripts share: one module, any data class of a kind, defaults from ``configs/``."""

    def __init__(self, script: str, data: type[MaskedSentences], defaults: str) -> None:
        self._data = data
        super().__init__(
            MaskedLanguageModel,
            data,
            subclass_mode_data=True,
            parser_class=_Parser,
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={
                "default_config_files": [str(_CONFIGS / defaults)],
                # Raised, not printed after pages of usage: run_command says them in one line.
                "exit_on_error": False,
                "description": f"{self.__doc__}\nWith --debug an error has its traceback.",
                "epilog": examples(script),
            },
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses; what is wrong with flags or config files is said in a line of our own."""
        arguments = sys.argv[1:]
        configs = read_configs(arguments)
        with refusing(parser, arguments, configs, {"data": self._data}):
            super().parse_arguments(parser, args)

    def _set_seed(self) -> None:
        try:
            super()._set_seed()
        except ValueError as error:
            raise InputError(f"seed_everything {self.config.seed_everything}: {error}") from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, or what is wrong with its settings as bad input."""
        settings = self.config.trainer
        _check_nodes(settings.num_nodes)
        check_settings(settings)
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except InputError:
            raise
        except (MisconfigurationException, ValueError, TypeError) as error:
            raise in_a_users_words(error, settings) from error
        except RuntimeError as error:
            refuse_tasks(error)
            raise
        check_launch(trainer)
        check_processes(settings, trainer)
        hide_secrets(trainer.loggers)
        return trainer


class AnalyzeCLI(_ScriptCLI):
    """Flags of a study. The stages behind attribution are callbacks with a section of their own."""

    def __init__(self) -> None:
        super().__init__("analyze.py", PromptGroups, "analyze.yaml")  # type: ignore[type-abstract]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """``--refine``, ``--edit``, ``--write``, ``--progress``, ``--track``, ``--run_dir``, …."""
        parser.add_lightning_class_args(RefineCallback, "refine")
        parser.add_lightning_class_args(EditCallback, "edit")
        parser.add_lightning_class_args(WeightCallback, "weights")
        parser.add_lightning_class_args(ValueCallback, "values")
        parser.add_lightning_class_args(WriteCallback, "write")
        parser.add_lightning_class_args(ProgressCallback, "progress")
        parser.add_lightning_class_args(TrackCallback, "track")
        parser.add_argument(
            "--run_dir",
            type=str | None,
            default=None,
            help="results: a folder, or an address such as s3://BUCKET/RUN; the same study is"
            " resumed there (default: its own folder in runs/)",
        )
        parser.add_argument(
            "--overwrite",
            type=bool,
            default=False,
            help="remove what a run has written to run_dir before, and begin again",
        )
        parser.add_argument(
            "--report.language",
            default=ENGLISH,
            help=f"language of the report's texts and figures: {', '.join(languages())}",
        )
        parser.link_arguments("edit.holdout", "refine.holdout")
        parser.link_arguments("edit.seed", "refine.seed")
        parser.link_arguments("refine.values", "values.k")
        parser.link_arguments("edit.settings", "weights.settings", apply_on="instantiate")
        parser.link_arguments("edit.settings", "values.settings", apply_on="instantiate")

    def instantiate_classes(self) -> None:
        """Tells the writer and the tracker where results go, and the settings as they are kept."""
        if self.config.trainer.inference_mode:
            raise InputError("trainer.inference_mode true: attribution needs gradients; use false")
        if self.config.trainer.fast_dev_run:
            raise InputError(
                f"trainer.fast_dev_run {self.config.trainer.fast_dev_run}: a study has no dry run;"
                " for a short one leave it out, and give --data.max_groups 2"
            )
        check_language(self.config.report.language)
        config = self._kept_config()
        for key in (
            *("progress", "track", "report", "weights", "values"),
            *("config", "run_dir", "overwrite"),
        ):
            config.pop(key, None)
        super().instantiate_classes()
        _check_each_once(self.trainer)
        self.run_folder = run_folder(self.config.run_dir or _default_run_dir(config))
        write = self.config_init.write
        write.begin(self.run_folder, config, self.config.overwrite)
        self.config_init.track.begin(self.trainer, write, config)

    def _kept_config(self) -> dict[str, Any]:
        """The settings as config.yaml has them."""
        try:
            text = self.parser.dump(self.config, skip_link_targets=False)
        except ValueError as error:  # such as a callback's Enum, which jsonargparse can't write
            said = " ".join(str(error).split())
            raise InputError(
                f"a setting can't be written to config.yaml ({said:.300}); leave out the callback,"
                " logger or class of your own that has it"
            ) from error
        config: dict[str, Any] = yaml.safe_load(text)
        return config


class TrainCLI(_ScriptCLI):
    """Flags of masked-LM training."""

    def __init__(self) -> None:
        # A learning rate that makes an encoder from nothing would wreck one that knows something.
        named = any(arg.partition("=")[0] in _NAMES_ENCODER for arg in sys.argv[1:])
        defaults = "train.yaml" if named else "scratch.yaml"
        super().__init__("train.py", MaskedSentences, defaults)  # type: ignore[type-abstract]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """``--formation`` and ``--export``."""
        parser.add_lightning_class_args(FormationCallback, "formation")
        parser.add_lightning_class_args(ExportCallback, "export")

    def instantiate_classes(self) -> None:
        """Checks that there is something to train, and that each result has a place of its own."""
        super().instantiate_classes()
        check_trains(self.config.trainer, self.trainer)
        formation, export = self.config.formation, self.config.export.folder
        if formation.every is not None and Path(formation.folder).resolve() == export.resolve():
            raise InputError(
                f"export.folder {export}: formation.folder is the same; give each a folder of its"
                " own"
            )

    def fit(self) -> None:
        """Trains; what Lightning finds wrong with its settings only then is bad input, too."""
        try:
            with answered_by_lightning():
                self.trainer.fit(self.model, datamodule=self.datamodule)
        except SystemExit as end:  # how Lightning answers Ctrl+C and SIGTERM, saying nothing
            if end.code == BAD_INPUT:  # of a rank that leaves the word to rank 0
                raise
            raise self.stopped(end) from end
        except (MisconfigurationException, ValueError) as error:
            if isinstance(error, InputError) or not of_a_setting(error, self.config.trainer):
                raise
            raise in_a_users_words(error, self.config.trainer) from error

    def stopped(self, end: SystemExit) -> BaseException:
        """How the command ends where Lightning ended a training: on rank 0 in one line."""
        if not self.trainer.is_global_zero:
            return end
        number = signal.SIGTERM if isinstance(end, SIGTERMException) else signal.SIGINT
        formation = self.config.formation
        record = self.config_init.formation.record
        return Stopped(
            number,
            stopped_training(
                f"stopped by {number.name} behind step {self.trainer.global_step}",
                self.config.export.folder,
                self.trainer.checkpoint_callbacks,
                None if formation.every is None else (str(formation.folder), record),
            ),
        )


def _check_each_once(trainer: Trainer) -> None:
    """Raise InputError where a user has added a stage of the study, which is there already."""
    kinds = [type(callback) for callback in trainer.callbacks]  # type: ignore[attr-defined]
    for kind in kinds:
        if kind.__module__.startswith("kn_lightning.") and kinds.count(kind) > 1:
            section = kind.__module__.rpartition(".")[2]
            raise InputError(
                f"trainer.callbacks: {kind.__name__} is part of every study; set it with"
                f" --{section}.NAME VALUE"
            )


def _check_nodes(num_nodes: int) -> None:
    """Raise InputError for nodes that nothing has launched: this one would wait for the rest."""
    launchers = (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment)
    launched = "MASTER_ADDR" in os.environ or any(kind.detect() for kind in launchers)
    if num_nodes > 1 and not launched:
        raise InputError(
            f"trainer.num_nodes {num_nodes}: start this command on every node with torchrun or srun"
            " (docs/devices.md has the lines), or set MASTER_ADDR, MASTER_PORT and NODE_RANK there"
        )


def _default_run_dir(config: dict[str, Any]) -> Path:
    """A folder for each study's settings: the same command goes on there, another starts afresh."""
    settings = {**study_settings(config), "path": str(config["data"].get("init_args", {}))}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    encoder = Path(str(config["model"]["encoder"])).name
    return (
        Path("runs") / f"{encoder}-{config['data']['class_path'].rpartition('.')[2]}-{digest[:8]}"
    )
