"""Find and edit knowledge neurons: ``python analyze.py [--config FILE] [flags]``.

``python analyze.py report RUN_DIR`` draws figures and report of a finished run again
(``--report.language ja``: in Japanese),
``python analyze.py formation FOLDER --encoders A B C …`` follows concepts and their neurons over
checkpoints of a training,
``python analyze.py neurons RUN_DIR FILE`` writes its neurons as EleutherAI's code does, as JSON,
``python analyze.py edit RUN_DIR FOLDER --concepts WORD … --weights EDIT`` its encoder with the
weights of their neurons edited,
``python analyze.py synonyms RUN_DIR`` says whether synonyms share neurons, and
``python analyze.py symmetry RUN_A RUN_B`` whether the two prompts of a sentence do.
"""

from __future__ import annotations

import sys
from pathlib import Path


def analyze() -> None:
    """Prompts -> attribution -> coarse and refined neurons -> edits -> tables, figures, report."""
    from kn_lightning.command import loading

    with loading():
        from kn_lightning.cli import AnalyzeCLI
        from kn_lightning.closing import found
        from kn_lightning.report import WRITTEN, write_report
        from kn_lightning.tracking import track_results

        cli = AnalyzeCLI()
    folder = cli.run_folder
    try:
        cli.trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False)
        if cli.trainer.is_global_zero:
            cli.config_init.write.end_if_stopped()
            write_report(folder.path, cli.config.report.language)
            folder.publish(*WRITTEN)
            sys.stdout.write(found(folder.path, cli.config.model.encoder))
            sys.stdout.write(f"results: {folder.name}\nreport:  {folder.name}/report.html\n")
            track_results(cli.trainer.loggers, folder.path, cli.config_init.track.artifact)
    finally:
        folder.release()


def report() -> None:
    """The report of a run folder again, without any model."""
    from kn_lightning.parsing import parsed, subcommand
    from kn_lightning.remote_folder import run_folder
    from kn_lightning.report import WRITTEN, write_report
    from kn_lightning.report.language import ENGLISH, languages

    parser = subcommand("report", str(report.__doc__))
    parser.add_argument("run_dir", help="a finished run folder, or its address")
    parser.add_argument(
        "--report.language",
        default=ENGLISH,
        help=f"language of its texts and figures: {', '.join(languages())}",
    )
    given = parsed(parser, sys.argv[2:])
    folder = run_folder(given.run_dir)
    write_report(folder.fetch(), given.report.language)
    folder.publish(*WRITTEN)
    sys.stdout.write(f"report:  {folder.name}/report.html\n")


def neurons() -> None:
    """The knowledge neurons of a run folder as JSON, for ``--refine.neurons`` or other code."""
    from kn_lightning.neuron_json import write_neurons
    from kn_lightning.parsing import parsed, subcommand
    from kn_lightning.remote_folder import run_folder

    parser = subcommand("neurons", str(neurons.__doc__))
    parser.add_argument("run_dir", help="a finished run folder, or its address")
    parser.add_argument("file", type=Path, help="JSON file to write, such as neurons.json")
    given = parsed(parser, sys.argv[2:])
    folder = run_folder(given.run_dir)  # of an address the copy is there as long as this
    write_neurons(folder.fetch(), given.file)
    sys.stdout.write(f"neurons: {given.file}\n")


def edit() -> None:
    """The encoder of a run with weights of concepts' neurons edited, for ``--model.encoder``."""
    from kn_lightning.command import loading

    with loading():
        from kn_lightning.core.weights import LAMBDA_1, LAMBDA_2, WEIGHT_EDITS
        from kn_lightning.edited_encoder import Request, write_edited
        from kn_lightning.parsing import parsed, subcommand
        from kn_lightning.remote_folder import run_folder

    parser = subcommand("edit", str(edit.__doc__))
    parser.add_argument("run_dir", help="a finished run folder, or its address")
    parser.add_argument("folder", type=Path, help="where the encoder goes; a new one")
    parser.add_argument("--concepts", nargs="+", required=True, help="whose knowledge neurons")
    parser.add_argument("--weights", required=True, help=f"edit: {', '.join(WEIGHT_EDITS)}")
    parser.add_argument("--new", nargs="+", default=[], help="update: the answer for each concept")
    parser.add_argument("--lambda_1", type=float, default=LAMBDA_1, help="update: of the old one")
    parser.add_argument("--lambda_2", type=float, default=LAMBDA_2, help="update: of the new one")
    parser.add_argument("--model.encoder", help="the run's encoder, where it has moved since")
    given = parsed(parser, sys.argv[2:])
    lambdas = (given.lambda_1, given.lambda_2)
    request = Request(given.concepts, given.weights, given.new, *lambdas)
    folder = run_folder(given.run_dir)
    write_edited(folder.fetch(), given.folder, request, given.model.encoder)
    sys.stdout.write(f"encoder: {given.folder}\n")


def formation() -> None:
    """Checkpoints of a training -> probability and neurons at each, and when they appear."""
    from kn_lightning.command import loading

    with loading():
        from kn_lightning.checkpoints import written_checkpoints
        from kn_lightning.report import WRITTEN, write_report
        from kn_lightning.tracking import AGAIN, track_formation

    with written_checkpoints(sys.argv[2:]) as (record, loggers):
        write_report(record.path)
        record.publish(*WRITTEN)
        sys.stdout.write(f"results: {record.name}\nreport:  {record.name}/report.html\n")
        track_formation(loggers, record, AGAIN)


def synonyms() -> None:
    """Do concepts that are synonyms share knowledge neurons?"""
    from kn_lightning.sharing import answer_synonyms

    answer_synonyms(sys.argv[2:])


def symmetry() -> None:
    """Is a fact in the same neurons, whichever of its words is asked for?"""
    from kn_lightning.sharing import answer_symmetry

    answer_symmetry(sys.argv[2:])


COMMANDS = {
    "report": report,
    "neurons": neurons,
    "edit": edit,
    "formation": formation,
    "synonyms": synonyms,
    "symmetry": symmetry,
}


def main() -> None:
    """The command that the first argument names; with flags alone, a study."""
    from kn_lightning.stopping import stopped_at_once

    name = "".join(sys.argv[1:2])
    if name and name not in COMMANDS and not name.startswith("-"):
        from kn_lightning.parsing import no_command

        raise no_command(name)
    with stopped_at_once():
        COMMANDS.get(name, analyze)()


if __name__ == "__main__":
    from kn_lightning.command import run_command

    run_command(main)
