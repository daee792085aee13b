"""A run folder → ``summary.json``, ``figures/``, ``report.md`` and ``report.html``.

Reads nothing but the folder: no model, no trainer. A study can be reported again years later, on a
machine without a GPU.

    tables       files of the run folder → checked data frames
    environment  the settings, versions and sizes among them → checked
    weights      weight edits → their reliability, generality and locality (weight_wording,
                 weight_figures: in words, in a picture)
    values       value vectors → ranks of concepts among what they promote (value_wording,
                 value_figures)
    top          best neurons suppressed by number → their changes (top_wording, top_figures)
    changes      edits → relative change of each concept
    summary      frames → every number that the report prints (parts: effects, comparisons,
                 statistics, doses, consistency, rankings, agreement)
    sets         tables of neurons → sets by row, and their Jaccard index
    pairing      pairs of sets → how alike they are, beside permuted partners (synonyms, symmetry:
                 the two questions that are asked of runs this way, by commands of their own)
    wording      summary → the sentences (caveats: what speaks against them; captions: those of the
                 figures; labels, numerals: names and numbers in words; agreement_wording)
    listings     summary → the tables (parts: change_listings, concept_listings, settings)
    figures      frames and captions → pictures (parts: change_figures, histogram_figures,
                 neuron_figures, agreement_figures; canvas: what they share; fonts;
                 figure_listings: the numbers that they draw)
    explorer     frames → what a reader of the page can look up (likeness: which concepts share
                 neurons; explorer_edits: edits of weights and of the best neurons;
                 explorer_texts: in words; templates/explorer*.js: what draws it)
    page         all of that → Markdown and HTML
    language     English texts → those of another language, a file in ``languages/``
    formation    a folder of a formation study → its numbers (formation_timing), sentences
                 (formation_wording), tables (formation_listings), pictures (formation_figures)
                 and page (formation_page)

Importing this package costs nothing: the libraries for data and drawing load at the first report.
"""

from __future__ import annotations

import gc
from pathlib import Path

WRITTEN = ("figures", "summary.json", "report.md", "report.html")
"""Entries of the run folder that a report is, the page last."""


def write_report(run_dir: Path, language: str = "en") -> Path:
    """Write the report of a finished run into its folder, replacing an earlier one.

    Args:
        run_dir: A run folder that ``analyze.py`` has written to the end, or the folder of a
            formation study.
        language: The language of its texts and figures, ``en`` or ``ja`` (of a formation ``en``
            alone); ``summary.json`` is the same in all.

    Returns:
        The path of ``report.html``.

    Raises:
        InputError: The folder is not a finished run, or the language cannot be written; the
            message names the file or flag and what to do.
    """
    from kn_lightning import files
    from kn_lightning.memory import return_freed_memory
    from kn_lightning.report import changes, explorer, figures, page, summary, tables
    from kn_lightning.report.language import speaking
    from kn_lightning.run_names import FIGURES

    run_dir = Path(run_dir)
    if (run_dir / "formation.json").is_file():
        from kn_lightning.report.formation_page import write_formation

        return write_formation(run_dir, language)
    gc.collect()  # what a study that this process has run leaves goes in circles
    return_freed_memory()
    with speaking(language):
        frames = tables.run_tables(run_dir)
        return_freed_memory()
        measured = changes.measured_changes(frames.edits, frames.neurons)
        numbers = summary.summary(frames, measured)
        return_freed_memory()
        pictures = figures.pictures(frames, measured, numbers)
        explored = explorer.explorer(frames, measured)
        markdown, html = page.markdown(numbers, pictures), page.html(numbers, pictures, explored)
    for picture in pictures:
        files.write_whole(run_dir / "figures" / f"{picture.name}.png", picture.png)
        files.write_whole(run_dir / "figures" / f"{picture.name}.svg", picture.svg)
    # What an earlier report drew and this one has no data for would be taken for its own.
    for name in set(FIGURES) - {picture.name for picture in pictures}:
        for suffix in ("png", "svg"):
            (run_dir / "figures" / f"{name}.{suffix}").unlink(missing_ok=True)
    files.write_whole(run_dir / "summary.json", summary.as_json(numbers))
    files.write_whole(run_dir / "report.md", markdown)
    # Last, so that an existing report.html means that all the rest is there.
    files.write_whole(run_dir / "report.html", html)
    return run_dir / "report.html"
