"""The browser that looks at the report's page; tests that need it do not pass in CI without one."""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


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
