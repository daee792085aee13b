"""The browser that looks at the report's page; tests that need it do not pass in CI without one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


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


def chromium_path() -> str:
    """Of the Chromium of this machine.

    Raises:
        pytest.skip.Exception: there is none; in CI, which would be green without having looked,
            the test fails instead.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        said = f"none of {', '.join(NAMES)} is installed; apt-get install -y chromium"
        if os.environ.get("CI", "").lower() in ("", "0", "false"):
            pytest.skip(said)
        pytest.fail(said)
    return found


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
