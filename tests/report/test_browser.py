"""The page in a headless browser: no errors, no requests, and as wide as its window."""

from __future__ import annotations

from pathlib import Path

import pytest

from .chromium import opened

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("chromium")]


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("dark", [False, True])
def test_page_fits_its_window_and_asks_for_nothing(
    rich_run: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    measures, console = opened(rich_run / "report.html", tmp_path, width, dark)
    assert console == []
    assert measures["requests"] == []
    assert measures["beyond"] == 0
    assert measures["paper"] == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    assert len(measures["images"]) == 17
    assert all(measures["images"])
    assert measures["narrowest"] > 550  # of 690 as drawn: their letters can be read


def test_main_table_needs_no_scrolling_on_a_desk(rich_run: Path, tmp_path: Path) -> None:
    measures, _ = opened(rich_run / "report.html", tmp_path, 1000, dark=False)
    assert "table-changes" not in measures["scrolling"]
    assert "table-controls" not in measures["scrolling"]


def test_japanese_page_fits_a_phone(rich_run_ja: Path, tmp_path: Path) -> None:
    measures, console = opened(rich_run_ja / "report.html", tmp_path, 390, dark=False)
    assert (measures["beyond"], measures["requests"], console) == (0, [], [])


def test_wide_page_with_a_request_and_an_error_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        '<div style="width:900px">x</div><img src="http://127.0.0.1:1/x.png">'
        "<script>nothing()</script>"
    )
    measures, console = opened(page, tmp_path, 390, dark=False)
    assert measures["beyond"] > 500
    assert measures["requests"] == ["http://127.0.0.1:1/x.png"]
    assert any("nothing is not defined" in line for line in console)
