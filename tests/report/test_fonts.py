"""The fonts that figures are drawn with."""

from __future__ import annotations

import matplotlib
import pytest
from matplotlib.font_manager import findfont

from kn_lightning.report import canvas, fonts
from kn_lightning.report.language import speaking


@pytest.fixture
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "get_font_names", lambda: ["DejaVu Sans"])
    monkeypatch.setattr(fonts, "cjk_font", fonts.cjk_font.__wrapped__)


@pytest.mark.usefixtures("_nothing_installed")
def test_font_of_the_package_is_found_without_its_settings() -> None:
    pytest.importorskip("matplotlib_fontja", reason="a font with Japanese characters")
    matplotlib.rcdefaults()
    before = matplotlib.rcParams.copy()
    assert fonts.cjk_font() == "IPAexGothic"
    assert findfont("IPAexGothic").endswith("ipaexg.ttf")
    assert matplotlib.rcParams == before


@pytest.mark.usefixtures("_nothing_installed")
def test_without_any_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "find_spec", lambda name: None)
    assert fonts.cjk_font() is None
    assert fonts.font_families() == ["DejaVu Sans"]


def test_language_says_which_font_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "cjk_font", lambda: "Some Gothic")
    assert fonts.font_families() == ["DejaVu Sans", "Some Gothic"]
    with speaking("ja"):
        assert fonts.font_families() == ["Some Gothic", "DejaVu Sans"]


def test_style_is_left_as_it_was_found() -> None:
    before = matplotlib.rcParams.copy()
    with canvas.style():
        assert matplotlib.rcParams["font.family"] == fonts.font_families()
    assert matplotlib.rcParams == before
