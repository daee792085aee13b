"""Fonts of the figures: that of matplotlib, and one with Japanese characters if there is any."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from matplotlib.font_manager import fontManager, get_font_names

from kn_lightning.report.language import current_language, needs_cjk_font

_CJK = ("Noto Sans CJK JP", "IPAexGothic", "Hiragino Sans", "Yu Gothic", "MS Gothic")


def font_families() -> list[str]:
    """The fonts to draw with, the first first; a character is taken from the first that has it."""
    latin, cjk = "DejaVu Sans", cjk_font()
    if cjk is None:
        return [latin]
    return [cjk, latin] if needs_cjk_font(current_language()) else [latin, cjk]


@cache
def cjk_font() -> str | None:
    """An installed font with Japanese characters, or that of the package matplotlib-fontja."""
    installed = set(get_font_names())
    found = next((name for name in _CJK if name in installed), None)
    return found or _packaged()


def _packaged() -> str | None:
    # Found, not imported: the package sets matplotlib's defaults when it is.
    package = find_spec("matplotlib_fontja")
    for folder in package.submodule_search_locations or [] if package else []:
        for path in Path(folder).glob("fonts/*.ttf"):
            fontManager.addfont(path)
            return fontManager.ttflist[-1].name
    return None
