"""Find and edit knowledge neurons: ``python analyze.py [--config FILE] [flags]``.

``python analyze.py report RUN_DIR`` draws figures and report of a finished run again.
"""

from __future__ import annotations

import sys
from pathlib import Path


def analyze() -> None:
    """Prompts -> attribution -> coarse and refined neurons -> edits -> tables, figures, report."""
    from kn_lightning.cli import AnalyzeCLI
    from kn_lightning.report import write_report

    cli = AnalyzeCLI()
    cli.trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False)
    if cli.trainer.is_global_zero:
        page = write_report(cli.run_folder.path)
        sys.stdout.write(f"results: {cli.run_folder.path}\nreport:  {page}\n")


def report() -> None:
    """The report of a run folder again, without any model."""
    from kn_lightning.errors import InputError
    from kn_lightning.report import write_report

    if len(sys.argv) != 3 or sys.argv[2].startswith("-"):
        raise InputError("usage: python analyze.py report RUN_DIR")
    sys.stdout.write(f"report:  {write_report(Path(sys.argv[2]))}\n")


if __name__ == "__main__":
    from kn_lightning.command import run_command

    run_command(report if sys.argv[1:2] == ["report"] else analyze)
