"""The page in a headless browser: no errors, no requests, and as wide as its window."""

from __future__ import annotations

import json
import re
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from .chromium import chromium_path

FRAME = """<!DOCTYPE html><meta charset="utf-8">
<iframe id="page" src="{address}" style="width:{width}px;height:800px;border:0"></iframe>
<script>
window.addEventListener("load", () => {{
  const inside = document.getElementById("page").contentWindow, page = inside.document;
  document.title = JSON.stringify({{
    "beyond": page.documentElement.scrollWidth - page.documentElement.clientWidth,
    "requests": inside.performance.getEntriesByType("resource").map(entry => entry.name),
    "paper": getComputedStyle(page.body).backgroundColor,
    "scrolling": [...page.querySelectorAll(".scroll")].filter(
      box => box.scrollWidth > box.clientWidth).map(box => box.getAttribute("aria-labelledby")),
    "narrowest": Math.min(...[...page.images].map(image => image.clientWidth)),
    "images": [...page.images].map(image => image.complete && image.naturalWidth > 0),
  }});
}});
</script>
"""
"""Looks at the page from outside, at a given width; nothing is put into it."""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("chromium")]


def opened(page: Path, folder: Path, width: int, dark: bool) -> tuple[dict[str, Any], list[str]]:
    """What a browser says of a page: its measures, and the messages of its console."""
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(address=page.as_uri(), width=width), encoding="utf-8")
    command = [chromium_path(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += [f"--user-data-dir={folder / 'profile'}", "--allow-file-access-from-files"]
    command += ["--disable-background-networking", "--proxy-server=127.0.0.1:1"]
    command += [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command += [f"--window-size={width + 100},1000", "--enable-logging=stderr", "--v=0"]
    done = subprocess.run(
        [*command, "--dump-dom", frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    title = re.search("<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(title[1])), console


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
