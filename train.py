"""Train a masked LM: ``python train.py [--config FILE] [flags]``.

Unless told, that makes the embedded encoder from scratch, on the testbed's facts.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kn_lightning.cli import TrainCLI


def main() -> None:
    """Sentences -> masked batches -> a folder that ``analyze.py --model.encoder`` reads."""
    from kn_lightning.stopping import stopped_at_once

    with stopped_at_once():
        train()


def train() -> None:
    """The training; a formation's folder is its command's to the end."""
    from kn_lightning.command import loading

    with loading():
        from kn_lightning.cli import TrainCLI

        cli = TrainCLI()
    try:
        cli.fit()
        if cli.trainer.is_global_zero:
            conclude(cli)
    finally:
        cli.config_init.formation.record.release()


def conclude(cli: TrainCLI) -> None:
    """What a training says at its end, on rank 0, and the report of a formation."""
    metrics = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
    for name, value in metrics.items():
        sys.stdout.write(f"{name}: {value:.4f}\n")
    sys.stdout.write(f"encoder: {cli.config.export.folder}\n")
    if cli.config.formation.every is not None:
        from kn_lightning.report import WRITTEN, write_report
        from kn_lightning.tracking import track_formation

        record = cli.config_init.formation.record
        write_report(record.path)
        record.publish(*WRITTEN)
        track_formation(cli.trainer.loggers, record)
        sys.stdout.write(f"report:  {record.name}/report.html\n")


if __name__ == "__main__":
    from kn_lightning.command import run_command

    run_command(main)
