"""What a study says at its end, before the paths of its results, and a training that is stopped."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Checkpoint

    from kn_lightning.formation_record import FormationRecord


def found(run_dir: Path, encoder: str) -> str:
    """What a run folder holds, and of the testbed what to try next; whole lines."""
    prompts = pq.read_table(run_dir / "prompts.parquet", columns=["concept"])
    neurons = pq.read_table(run_dir / "neurons.parquet", columns=["concept"])
    studied, having = (
        pc.count_distinct(rows["concept"]).as_py()  # type: ignore[attr-defined,unused-ignore]
        for rows in (prompts, neurons)
    )
    text = (
        f"found:   {neurons.num_rows} knowledge neurons of {having} of {studied} concepts,"
        f" by {prompts.num_rows} prompts\n"
    )
    if encoder == "embedded":
        # As the command was given: the working directory may be another.
        script = Path(sys.argv[0])
        config = script.with_name("configs") / "concept_neurons.yaml"
        command = shlex.join(["python", str(script), "--config", str(config)])
        text += f"next:    a real encoder, from the Hub: {command} --data.max_groups 20\n"
    return text


def stopped_training(
    how: str,
    export: Path,
    checkpoints: Iterable[Checkpoint],
    formation: tuple[str, FormationRecord] | None,
) -> str:
    """What a training that was stopped leaves, and how to go on; one line.

    Args:
        how: it was stopped, and where.
        export: the folder that the encoder would have gone to.
        checkpoints: callbacks that may have saved some.
        formation: the folder, as a user calls it, and the record of the one that was asked for.
    """
    parts = [f"{how}; the encoder goes to {export} only when a training ends"]
    for callback in checkpoints:
        saved = getattr(callback, "last_model_path", "") or getattr(callback, "best_model_path", "")
        if saved:
            parts.append(f"{saved} is a checkpoint for Lightning's Trainer.fit(ckpt_path=...)")
    again = "the same command begins anew"
    if formation is not None and any(formation[1].path.glob("*")):
        folder, n_steps = formation[0], len(formation[1].checkpoints())
        drawn = f" (python analyze.py report {folder} draws them)" if n_steps else ""
        parts.append(f"{folder} holds {n_steps} measured steps{drawn}")
        again += " with another --formation.folder, or when that one is moved away"
    return "; ".join([*parts, again])
