"""Folder of a formation study → ``summary.json``, ``figures/``, ``report.md``, ``report.html``."""

from __future__ import annotations

import re
from pathlib import Path

from kn_lightning import files
from kn_lightning.errors import InputError
from kn_lightning.report import formation_figures
from kn_lightning.report.canvas import style, svg_and_png
from kn_lightning.report.figures import Picture
from kn_lightning.report.formation import formation_numbers
from kn_lightning.report.formation_listings import listings
from kn_lightning.report.formation_wording import captions, caveats, findings
from kn_lightning.report.language import ENGLISH
from kn_lightning.report.page import templates
from kn_lightning.report.summary import as_json

_DRAWN = {
    "formation": formation_figures.curves,
    "formation_order": formation_figures.order,
    "formation_by_layer": formation_figures.by_layer,
    "formation_by_pos": formation_figures.by_pos,
}


def write_formation(folder: Path, language: str = ENGLISH) -> Path:
    """Write the report of a formation study into its folder, replacing an earlier one.

    Returns:
        The path of ``report.html``.

    Raises:
        InputError: the folder is damaged, has a single step, or another language is asked for.
    """
    if language != ENGLISH:
        raise InputError(
            f"report.language {language}: a formation is reported in {ENGLISH} alone; leave it out"
        )
    numbers = formation_numbers(folder)
    words = captions(numbers)
    with style():
        pictures = [
            Picture(name, caption, *svg_and_png(_DRAWN[name](caption.title, numbers)))
            for name, caption in words.items()
        ]
    content = {
        "numbers": numbers,
        "findings": findings(numbers),
        "caveats": caveats(numbers),
        "figures": pictures,
        "tables": listings(numbers),
        "settings": {"source": numbers["record"]["source"], **numbers["record"]["identity"]},
    }
    markdown, html = (
        templates().get_template(f"formation.{suffix}.j2").render(content)
        for suffix in ("md", "html")
    )
    for picture in pictures:
        files.write_whole(folder / "figures" / f"{picture.name}.png", picture.png)
        files.write_whole(folder / "figures" / f"{picture.name}.svg", picture.svg)
    for name in set(_DRAWN) - set(words):
        for suffix in ("png", "svg"):
            (folder / "figures" / f"{name}.{suffix}").unlink(missing_ok=True)
    files.write_whole(folder / "summary.json", as_json(numbers))
    files.write_whole(folder / "report.md", re.sub(r"\n{3,}", "\n\n", markdown))
    # Last, so that an existing report.html means that all the rest is there.
    files.write_whole(folder / "report.html", html)
    return folder / "report.html"
