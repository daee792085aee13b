"""A finished run folder -> what the trainer's loggers can hold of it.

W&B: a table of concepts, figures, histograms, summary numbers, the folder as an artifact.
TensorBoard: the same without the artifact. Any other logger: the summary numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn

from kn_lightning.environment import shareable
from kn_lightning.run_folder import RUN_ID

if TYPE_CHECKING:
    import pandas as pd
    import wandb

_NOT_SHARED = {"config.yaml", RUN_ID, "parts", "scores"}
"""Entries of a run folder that are no part of its artifact as they are."""


@dataclass(frozen=True)
class Results:
    """What a finished run folder has to show.

    Attributes:
        folder: the run folder.
        prompts: how many were studied; the step of what is logged.
        numbers: of ``summary.json``, by the names of their places joined with ``/``.
        concepts: one row a concept: concept, pos, prompts, probability (mean), neurons, and its
            relative change by edit and kind, such as ``suppress own``.
        values: what is drawn as histograms, by name.
        figures: PNG files by name.
    """

    folder: Path
    prompts: int
    numbers: dict[str, float]
    concepts: pd.DataFrame
    values: dict[str, list[float]]
    figures: dict[str, Path]


def track_results(loggers: Iterable[Logger], run_dir: Path, artifact: bool = True) -> None:
    """Log what a finished and reported run folder holds, and end the W&B run.

    Args:
        loggers: the trainer's; without any, nothing is read.
        run_dir: the run folder, with its report.
        artifact: whether W&B gets the folder, too.
    """
    loggers = list(loggers)
    if not loggers:
        return
    results = read_results(run_dir)

    def track(logger: Logger) -> None:
        _track(logger, results, artifact)
        logger.save()

    answering(loggers, track, str(run_dir))


def answering(
    loggers: Iterable[Logger], tell: Callable[[Logger], None], results: str
) -> list[Logger]:
    """Tell each logger something; one that fails costs a warning, never the study.

    Args:
        loggers: the trainer's.
        tell: what, to one of them.
        results: what a user calls the run folder.

    Returns:
        Those that have taken it, to be told more.
    """
    kept = []
    for logger in loggers:
        try:
            tell(logger)
            kept.append(logger)
        except Exception as error:  # each logger has errors of its own
            said = " ".join(str(error).split()) or type(error).__name__
            rank_zero_warn(
                f"{type(logger).__name__} is lost ({said}) and gets no more of this study;"
                f" results are in {results}. Once it answers, the same command tracks them"
            )
            if isinstance(logger, WandbLogger):
                _leave_wandb()
    return kept


def _leave_wandb() -> None:
    """Else the process would, at its end, once more talk to a W&B that doesn't answer."""
    import wandb

    with suppress(Exception, SystemExit):
        wandb.teardown()


def read_results(run_dir: Path) -> Results:
    """What a finished and reported run folder has to show."""
    # Here: a study without loggers doesn't need the libraries of the report.
    from kn_lightning.report import changes, tables

    frames = tables.run_tables(run_dir)
    summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    del summary["environment"]  # part of the settings
    measured = changes.measured_changes(frames.edits, frames.neurons).concepts
    concepts = _concepts(frames.prompts, frames.neurons, measured)
    values = {
        f"{edit} own": concepts[f"{edit} own"].dropna().tolist()
        for edit in changes.edit_order(measured["edit"])
    }
    return Results(
        run_dir,
        len(frames.prompts),
        flat_numbers(summary),
        concepts,
        {**values, "neurons": concepts["neurons"].tolist()},
        {path.stem: path for path in sorted((run_dir / "figures").glob("*.png"))},
    )


def flat_numbers(values: dict[str, Any], place: str = "") -> dict[str, float]:
    """The numbers in nested dictionaries, by their keys joined with ``/``; lists are left out."""
    numbers: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            numbers |= flat_numbers(value, f"{place}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[f"{place}{key}"] = value
    return numbers


def shared_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Settings that may be shown: no logger, which can hold a key, and no absolute path."""
    trainer = {key: value for key, value in config["trainer"].items() if key != "logger"}
    settings: dict[str, Any] = shareable({**config, "trainer": trainer})
    return settings


def _concepts(prompts: pd.DataFrame, neurons: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    by_concept = prompts.groupby("concept", observed=True)
    concepts = by_concept.agg(
        pos=("pos", "first"), prompts=("prompt_id", "size"), probability=("probability", "mean")
    )
    sizes = neurons["concept"].value_counts()
    concepts["neurons"] = sizes.reindex(concepts.index, fill_value=0)
    changes = measured.pivot(index="concept", columns=["edit", "kind"], values="change")
    changes.columns = [" ".join(pair) for pair in changes.columns]
    return concepts.join(changes).reset_index()


@singledispatch
def _track(logger: Logger, results: Results, artifact: bool) -> None:
    logger.log_metrics(results.numbers, results.prompts)


@_track.register(TensorBoardLogger)
def _(logger: TensorBoardLogger, results: Results, artifact: bool) -> None:
    import numpy as np
    from matplotlib.image import imread

    board, step = logger.experiment, results.prompts
    logger.log_metrics(results.numbers, step)
    table = results.concepts.to_string(index=False)
    board.add_text("concepts", "\n".join(f"    {line}" for line in table.splitlines()), step)
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
        run.log_artifact(_artifact(f"run-{run.id}", media["concepts"], folder))
        logger.log_metrics(media, results.prompts)
        run.summary.update(results.numbers)
    run.finish()


def _media(results: Results) -> dict[str, Any]:
    """Histograms, figures and the table of concepts, by the names under which W&B shows them."""
    import wandb

    histograms = {
        f"histograms/{name}": wandb.Histogram(values)
        for name, values in results.values.items()
        if values
    }
    figures = {f"figures/{name}": wandb.Image(str(path)) for name, path in results.figures.items()}
    concepts = results.concepts.astype(object)
    table = wandb.Table(dataframe=concepts.where(concepts.notna(), None))
    return {**histograms, **figures, "concepts": table}


def _artifact(name: str, concepts: wandb.Table, folder: Path | None) -> wandb.Artifact:
    """The table of concepts and the run folder, its settings as they may be shown."""
    import wandb

    artifact = wandb.Artifact(name, type="run")
    # Before it is logged: the history then refers to this table, and makes no copy of its own.
    artifact.add(concepts, "concepts")
    if folder is not None:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if path.is_file() and inside.parts[0] not in _NOT_SHARED:
                artifact.add_file(str(path), inside.as_posix())
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        with artifact.new_file("config.yaml", encoding="utf-8") as file:
            yaml.safe_dump(shared_settings(config), file, sort_keys=False, allow_unicode=True)
    for entry in artifact.manifest.entries.values():
        if entry.local_path is not None:
            # Where W&B has put its copy: the server is told.
            entry.local_path = os.path.relpath(entry.local_path)
    return artifact
