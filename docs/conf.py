"""Sphinx's settings: ``sphinx-build -W -n docs build/docs`` from the repository's root."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

project = "kn_lightning"
author = "the authors of kn_lightning"
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "kn_lightning"
exclude_patterns = ["_generated", "_build"]

linkcheck_timeout = 15
linkcheck_retries = 3
linkcheck_workers = 2
linkcheck_rate_limit_timeout = 60
# GitHub makes the anchors of its pages in the browser.
linkcheck_anchors_ignore_for_url = [r"https://github\.com/.*"]


def setup(app: object) -> None:
    """Write what is generated before any page is read, so that it can't go stale."""
    import generate

    generate.write_all(Path(__file__).parent / "_generated")
