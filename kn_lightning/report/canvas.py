"""What all figures share: size, fonts, colours, and a drawn figure → SVG and PNG bytes."""

from __future__ import annotations

import io
import logging
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

from kn_lightning.printable import printable
from kn_lightning.report.fonts import font_families
from kn_lightning.report.language import current_language, needs_cjk_font
from kn_lightning.report.numerals import whole_percent

WIDTH = 6.4
"""Inches; narrow, so that the text stays readable on a phone."""
_DPI = 110
_TITLE_CHARACTERS = 62


@dataclass(frozen=True, slots=True)
class Look:
    """How a kind is told apart, with and without colour."""

    color: str
    hatch: str
    line: str
    marker: str


# Colours of seaborn's "colorblind" palette, written out (a test compares them): importing seaborn
# takes as long as drawing half of the figures.
LOOKS = {
    "own": Look("#0173b2", "", "-", "o"),
    "unrelated": Look("#de8f05", "////", "--", "^"),
    "other": Look("#029e73", "\\\\\\\\", "-.", "s"),
    "negated": Look("#ca9161", "||||", "--", "<"),
    "random": Look("#d55e00", "....", ":", "D"),
    "activation": Look("#cc78bc", "xxxx", "-", "v"),
    "foreign": Look("#56b4e9", "++++", "--", "P"),
}
OTHER_LOOK = Look("#949494", "oo", "-.", "X")

_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "hatch.linewidth": 0.7,
    # Concepts are data: a "$" in one must not start a formula.
    "text.parse_math": False,
    # The same input must give the same bytes: ids in SVG are otherwise random.
    "svg.hashsalt": "kn_lightning",
}


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures, inside the block only."""
    # Japanese fonts have no bold, and matplotlib says so of every title.
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A user's own matplotlibrc would change the figures of one run from machine to machine.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_STYLE, "font.family": font_families()})
        # A concept in a script without a font is drawn as boxes; the tables still spell it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def sheet(title: str, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with its title and ``rows`` x ``columns`` axes; ``height`` in inches."""
    figure = Figure(
        figsize=(WIDTH, height), dpi=_DPI, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    # What is shown on the first line, how many of them on the second.
    # A Japanese character is as wide as two Latin ones.
    width = _TITLE_CHARACTERS // (2 if needs_cjk_font(current_language()) else 1)
    lines = [textwrap.fill(part, width) for part in re.split(r": |：", title)]
    figure.suptitle("\n".join(lines), x=0.015, ha="left", fontsize=11, fontweight="bold")
    return figure, list(axes.flat)


def box(
    axes: Axes,
    found: dict[str, Any],
    values: pd.Series,
    look: Look,
    place: float,
    width: float,
    label: str = "",
) -> None:
    """A lying box: median, quartiles, 5th and 95th percentile of ``found``; all beyond are dots."""
    beyond = values[(values < found["p05"]) | (values > found["p95"])].to_numpy()
    one = {"med": found["median"], "q1": found["p25"], "q3": found["p75"]}
    one |= {"whislo": found["p05"], "whishi": found["p95"], "fliers": beyond}
    axes.bxp(
        [one],
        positions=[place],
        label=label,
        orientation="horizontal",
        widths=width,
        patch_artist=True,
        boxprops={"facecolor": "white", "edgecolor": look.color, "hatch": look.hatch},
        medianprops={"color": "black", "linewidth": 2},
        whiskerprops={"color": look.color},
        capprops={"color": look.color},
        flierprops={"marker": look.marker, "markersize": 3.5, "markeredgecolor": look.color},
    )


def legend(figure: Figure, columns: int = 1) -> None:
    """The legend of the figure's labelled artists, below the axes where it covers nothing."""
    figure.legend(loc="outside lower left", ncols=columns)


def svg_and_png(figure: Figure) -> tuple[bytes, bytes]:
    """The figure as SVG and PNG, the same bytes every time it is drawn."""
    vector, raster = io.BytesIO(), io.BytesIO()
    # One layout for both: matplotlib would make it four times, which is half of the drawing.
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine(None)
    figure.savefig(vector, format="svg", metadata={"Date": None})
    figure.savefig(raster, format="png")
    return vector.getvalue(), raster.getvalue()


PERCENT = FuncFormatter(lambda fraction, _place: whole_percent(fraction))


def shortened(name: str, width: int = 22) -> str:
    """A concept's name as a label; the tables have it whole."""
    line = printable(" ".join(name.split()))
    return line if len(line) <= width else f"{line[: width - 1]}…"
