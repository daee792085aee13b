"""A finished study or formation study -> what the trainer's loggers can hold of it.

W&B: a table (of concepts; of a formation's curves), figures, histograms, summary numbers, a study's
folder as an artifact. TensorBoard: the same without the artifact. Any other logger: the summary
numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn

from kn_lightning.data.addresses import public_text
from kn_lightning.environment import shareable, without_secrets
from kn_lightning.results import Results, read_formation, read_results
from kn_lightning.run_names import RUN_ID, is_written
from kn_lightning.wandb_run import leave_wandb

if TYPE_CHECKING:
    import wandb

    from kn_lightning.formation_record import FormationRecord

_NOT_SHARED = {"config.yaml", RUN_ID, "parts", "scores"}
"""Entries of a run folder that are no part of its artifact as they are."""

AGAIN = ". Once it answers, the same command tracks them"
"""What a study's logger that has failed is told."""


def track_results(loggers: Iterable[Logger], run_dir: Path, artifact: bool = True) -> None:
    """Log what a finished and reported run folder holds, and end the W&B run.

    Args:
        loggers: the trainer's; without any, nothing is read.
        run_dir: the run folder, with its report.
        artifact: whether W&B gets the folder, too.
    """
    loggers = list(loggers)
    if loggers:
        _tell(loggers, read_results(run_dir), str(run_dir), AGAIN, artifact)


def track_formation(loggers: Iterable[Logger], record: FormationRecord, remedy: str = "") -> None:
    """Log what is known of a formation study at its end alone, and end the W&B run.

    The likeness of neurons to the last ones is known then; means over concepts went to the loggers
    at each step.

    Args:
        loggers: the trainer's; without any, nothing is read.
        record: of the study, with its report.
        remedy: how a logger that fails gets them after all.
    """
    loggers = list(loggers)
    if loggers:
        _tell(loggers, read_formation(record.path), record.name, remedy, artifact=False)


def _tell(loggers: list[Logger], results: Results, name: str, remedy: str, artifact: bool) -> None:
    def track(logger: Logger) -> None:
        _track(logger, results, artifact)
        logger.save()

    answering(loggers, track, name, remedy)


def answering(
    loggers: Iterable[Logger],
    tell: Callable[[Logger], None],
    results: str,
    remedy: str = AGAIN,
) -> list[Logger]:
    """Tell each logger something; one that fails costs a warning, never the study.

    Args:
        loggers: the trainer's.
        tell: what, to one of them.
        results: what a user calls the run folder.
        remedy: how a logger that fails gets them after all.

    Returns:
        Those that have taken it, to be told more.
    """
    kept = []
    for logger in loggers:
        try:
            tell(logger)
            kept.append(logger)
        except Exception as error:  # each logger has errors of its own
            said = " ".join(public_text(str(error)).split()) or type(error).__name__
            rank_zero_warn(
                f"{type(logger).__name__} is lost ({said}) and gets no more of this study;"
                f" results are in {results}{remedy}"
            )
            if isinstance(logger, WandbLogger):
                leave_wandb()
    return kept


def shared_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Settings that may be shown: no logger, no key or password, and no absolute path."""
    config = without_secrets(config)
    trainer = {key: value for key, value in config["trainer"].items() if key != "logger"}
    settings: dict[str, Any] = shareable({**config, "trainer": trainer})
    return settings


@singledispatch
def _track(logger: Logger, results: Results, artifact: bool) -> None:
    logger.log_metrics(results.numbers, results.step)


@_track.register(TensorBoardLogger)
def _(logger: TensorBoardLogger, results: Results, artifact: bool) -> None:
    import numpy as np
    from matplotlib.image import imread

    board, step = logger.experiment, results.step
    logger.log_metrics(results.numbers, step)
    table = results.table.to_string(index=False)
    board.add_text(results.name, "\n".join(f"    {line}" for line in table.splitlines()), step)
    for name, values in results.values.items():
        if values:
            board.add_histogram(f"histograms/{name}", np.array(values), step)
    for name, path in results.figures.items():
        board.add_image(f"figures/{name}", imread(path), step, dataformats="HWC")


@_track.register(WandbLogger)
def _(logger: WandbLogger, results: Results, artifact: bool) -> None:
    run = logger.experiment
    if not run.disabled:
        media = _media(results)
        folder = results.folder if artifact else None
        run.log_artifact(_artifact(f"run-{run.id}", results.name, media[results.name], folder))
        logger.log_metrics(media, results.step)
        run.summary.update(results.numbers)
    run.finish()


def _media(results: Results) -> dict[str, Any]:
    """Histograms, figures and the table, by the names under which W&B shows them."""
    import wandb

    histograms = {
        f"histograms/{name}": wandb.Histogram(values)
        for name, values in results.values.items()
        if values
    }
    figures = {f"figures/{name}": wandb.Image(str(path)) for name, path in results.figures.items()}
    rows = results.table.astype(object)
    table = wandb.Table(dataframe=rows.where(rows.notna(), None))
    return {**histograms, **figures, results.name: table}


def _artifact(name: str, kind: str, table: wandb.Table, folder: Path | None) -> wandb.Artifact:
    """The table and what a run writes in its folder, its settings as they may be shown."""
    import wandb

    artifact = wandb.Artifact(name, type="run")
    # Before it is logged: the history then refers to this table, and makes no copy of its own.
    artifact.add(table, kind)
    if folder is not None:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            own = is_written(inside.as_posix()) and not path.name.startswith(".")
            if path.is_file() and own and inside.parts[0] not in _NOT_SHARED:
                artifact.add_file(str(path), inside.as_posix())
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        with artifact.new_file("config.yaml", encoding="utf-8") as file:
            yaml.safe_dump(shared_settings(config), file, sort_keys=False, allow_unicode=True)
    for entry in artifact.manifest.entries.values():
        if entry.local_path is not None:
            # Where W&B has put its copy: the server is told.
            entry.local_path = os.path.relpath(entry.local_path)
    return artifact
