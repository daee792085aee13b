"""Settings that Lightning's trainer takes and can't work with -> one line, before anything begins.

Lightning itself finds them in the middle of a training, or never.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.strategies.launchers import (
    _MultiProcessingLauncher,
    _SubprocessScriptLauncher,
)

from kn_lightning.errors import InputError

_PROCESSES_A_CORE = 16


def _below_1(value: float | None) -> bool:
    return value is not None and value < 1


def _negative(value: float | None) -> bool:
    return value is not None and value < 0


_REFUSED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "accumulate_grad_batches": (_below_1, "give a number of batches, 1 or more"),
    "check_val_every_n_epoch": (
        _below_1,
        "give a number of epochs, 1 or more; --trainer.limit_val_batches 0 is for no validation",
    ),
    "val_check_interval": (
        lambda value: isinstance(value, int | float) and value == 0,
        "give a number of batches, or a share of an epoch up to 1.0;"
        " --trainer.limit_val_batches 0 is for no validation",
    ),
    "gradient_clip_val": (
        lambda value: value is not None and not 0 <= value < math.inf,
        "give a norm such as 1.0, or null for no clipping",
    ),
    "log_every_n_steps": (_negative, "give a number of steps, or 0 for none"),
    "num_sanity_val_steps": (
        lambda value: value is not None and value < -1,
        "give a number of batches, 0 for none, or -1 for all",
    ),
    "min_steps": (_negative, "give a number of steps, or leave it out"),
    "min_epochs": (_negative, "give a number of epochs, or leave it out"),
}
_NOTHING_TO_TRAIN = ("max_steps", "max_epochs", "limit_train_batches")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise InputError for a number that the trainer divides by, compares or counts with, in vain.

    Args:
        settings: of the trainer, by their names.
    """
    for key, (refused, remedy) in _REFUSED.items():
        if refused(settings[key]):
            raise InputError(f"trainer.{key} {settings[key]}: {remedy}")
    # Before Lightning makes a list of them.
    devices, most = settings["devices"], _PROCESSES_A_CORE * (os.cpu_count() or 1)
    if re.fullmatch(r"\d+", str(devices)) and float(devices) > most:
        raise InputError(
            f"trainer.devices {str(devices):.20}: more processes than this machine's CPU cores can"
            " serve; give one a core, or less"
        )


def check_trains(settings: Mapping[str, Any], trainer: Trainer) -> None:
    """Raise InputError for a limit that leaves nothing to train.

    Args:
        settings: of the trainer, by their names.
        trainer: that is made with them.
    """
    for key in _NOTHING_TO_TRAIN:
        if settings[key] == 0:
            raise InputError(
                f"trainer.{key} {settings[key]}: it leaves nothing to train; give more, or leave it"
                " out"
            )
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and not callback.time_remaining():
            raise InputError(
                f"trainer.max_time {settings['max_time']}: it leaves nothing to train; give more,"
                " or leave it out"
            )


def check_processes(settings: Mapping[str, Any], trainer: Trainer) -> None:
    """Raise InputError for processes that can't end in one line.

    Args:
        settings: of the trainer, by their names.
        trainer: that is made with them.
    """
    # What a process of multiprocessing raises reaches this one as the text of a traceback.
    if type(trainer.strategy.launcher) is _MultiProcessingLauncher:
        name = settings["strategy"]
        name = name if isinstance(name, str) else type(trainer.strategy).__name__
        raise InputError(
            f"trainer.strategy {name}: it starts its processes by Python's multiprocessing, and"
            " what goes wrong there is not told; use ddp, which gives the same"
        )


def check_launch(trainer: Trainer) -> None:
    """Raise InputError where torchrun or SLURM has begun other processes than the trainer expects.

    Lightning asks that, too, but behind what loads the encoder, and says no flag.

    Args:
        trainer: that is made.
    """
    launcher = trainer.strategy.launcher
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return
    devices, nodes = launcher.num_processes, launcher.num_nodes
    try:
        launcher.cluster_environment.validate_settings(num_devices=devices, num_nodes=nodes)
    except ValueError as error:
        raise InputError(
            f"trainer.devices {devices}, trainer.num_nodes {nodes}: {error} Give as many as"
            " torchrun or srun starts, or start this command without them"
        ) from error


def refuse_tasks(error: RuntimeError) -> None:
    """Raise InputError if that is Lightning's word on the tasks of a SLURM job; else nothing."""
    if "--ntasks" in str(error) and "SLURM_NTASKS" in os.environ:
        tasks = os.environ["SLURM_NTASKS"]
        raise InputError(
            f"SLURM_NTASKS {tasks}, without SLURM_NTASKS_PER_NODE: ask SLURM for"
            " --ntasks-per-node instead of --ntasks, as many as --trainer.devices; or unset"
            " SLURM_NTASKS where this command is no task of srun"
        ) from error


def of_a_setting(error: Exception, settings: Mapping[str, Any]) -> bool:
    """Whether Lightning names a setting of the trainer that has a value, in this error of its."""
    return bool(_named(str(error), settings))


def in_a_users_words(error: Exception, settings: Mapping[str, Any]) -> InputError:
    """What Lightning says of its trainer's settings, as bad input.

    Args:
        error: Lightning's, whose words name the setting, and not always its value.
        settings: of the trainer, by their names.
    """
    text = str(error)
    given = _given(settings)
    named = _named(text, settings) or [
        key
        for key, value in given.items()
        if isinstance(value, str) and re.search(rf"\b{re.escape(value)}\b", text)
    ]
    places = "".join(f"trainer.{key} {given[key]}: " for key in named)
    return InputError(f"{places or 'trainer: '}{error}")


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value not in (None, "auto")}


def _named(text: str, settings: Mapping[str, Any]) -> list[str]:
    if settings["overfit_batches"]:  # Lightning then speaks of the limits that it sets by it
        text = re.sub(r"\blimit_\w+_batches\b", "overfit_batches", text)
    return [key for key in _given(settings) if re.search(rf"\b{key}\b", text)]
