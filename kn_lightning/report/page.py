"""Summary and pictures → ``report.md`` and ``report.html``."""

from __future__ import annotations

import base64
import re
from html import escape
from typing import Any

import jinja2
from markupsafe import Markup

from kn_lightning.printable import printable
from kn_lightning.report.caveats import caveats, left_out
from kn_lightning.report.explorer import embedded
from kn_lightning.report.explorer_texts import texts
from kn_lightning.report.figures import Picture
from kn_lightning.report.language import current_language, say
from kn_lightning.report.listings import listings
from kn_lightning.report.numerals import count, unbroken
from kn_lightning.report.wording import findings

Summary = dict[str, Any]


def markdown(numbers: Summary, pictures: list[Picture]) -> str:
    """``report.md``; figures are linked relative to it."""
    # Parts that a run has no data for leave empty lines behind.
    return re.sub(r"\n{3,}", "\n\n", _rendered("report.md.j2", numbers, pictures))


def html(numbers: Summary, pictures: list[Picture], explored: dict[str, Any]) -> str:
    """``report.html``, with everything that it shows inside.

    Args:
        numbers: the summary.
        pictures: the figures.
        explored: what the Explorer shows; without anything there is none.
    """
    content = None
    if explored:
        content = embedded({"data": explored, "texts": texts(explored, numbers)})
    return _rendered("report.html.j2", numbers, pictures, content)


def templates() -> jinja2.Environment:
    """The package's templates, with what they call."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kn_lightning.report", "templates"),
        autoescape=True,  # Concepts, prompts and reasons are other people's text.
        finalize=lambda value: unbroken(printable(value)) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": _markdown_text, "inline": _inline, "count": count}
    return environment


def _rendered(
    template: str, numbers: Summary, pictures: list[Picture], explored: Markup | None = None
) -> str:
    return (
        templates()
        .get_template(template)
        .render(
            language=current_language(),
            say=say,
            numbers=numbers,
            findings=findings(numbers),
            caveats=caveats(numbers),
            left_out=left_out(numbers),
            tables=listings(numbers),
            explored=explored,
            figures={picture.name: picture for picture in pictures},
        )
    )


def _markdown_text(text: str) -> Markup:
    """``text`` on one line, with all that Markdown or HTML would act upon escaped."""
    line = re.sub(r"[\r\n\t]+", " ", text)
    line = escape(printable(line), quote=False)
    return Markup(re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", line))


def _inline(svg: bytes) -> str:
    """An SVG as a data address: as an image its ids and scripts stay its own."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
