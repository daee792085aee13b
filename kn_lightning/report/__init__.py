"""A run folder → ``summary.json``, ``figures/``, ``report.md`` and ``report.html``.

Reads nothing but the folder: no model, no trainer. A study can be reported again years later, on a
machine without a GPU.

    tables    files of the run folder → checked data frames
    changes   edits → relative change of each concept
    summary   frames → every number that the report prints (parts: effects, rankings)
    wording   summary → the sentences (captions: those of the figures)
    listings  summary → the tables (listing: their record; settings: those of the environment)
    figures   frames and captions → pictures (parts: change_figures, neuron_figures, canvas)
    page      all of that → Markdown and HTML
    files     text or bytes → files, whole or not at all

Importing this package costs nothing: the libraries for data and drawing load at the first report.
"""

from __future__ import annotations

from pathlib import Path


def write_report(run_dir: Path) -> Path:
    """Write the report of a finished run into its folder, replacing an earlier one.

    Args:
        run_dir: A run folder that ``analyze.py`` has written to the end.

    Returns:
        The path of ``report.html``.

    Raises:
        InputError: The folder is not a finished run; the message names the file and what to do.
    """
    from kn_lightning.report import changes, figures, files, page, summary, tables

    run_dir = Path(run_dir)
    frames = tables.run_tables(run_dir)
    measured = changes.measured_changes(frames.edits, frames.neurons)
    numbers = summary.summary(frames, measured)
    pictures = figures.pictures(frames, measured, numbers)
    for picture in pictures:
        files.write_whole(run_dir / "figures" / f"{picture.name}.png", picture.png)
        files.write_whole(run_dir / "figures" / f"{picture.name}.svg", picture.svg)
    files.write_whole(run_dir / "summary.json", summary.as_json(numbers))
    files.write_whole(run_dir / "report.md", page.markdown(numbers, pictures))
    # Last, so that an existing report.html means that all the rest is there.
    files.write_whole(run_dir / "report.html", page.html(numbers, pictures))
    return run_dir / "report.html"
