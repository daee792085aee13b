"""Without a browser its tests skip at a desk, and fail in CI."""

from __future__ import annotations

import shutil

import pytest

from .chromium import chromium_path


@pytest.mark.parametrize(
    ("ci", "end"),
    [
        ("1", pytest.fail.Exception),
        ("true", pytest.fail.Exception),
        ("", pytest.skip.Exception),
        ("false", pytest.skip.Exception),
    ],
)
def test_without_a_browser_ci_fails_with_what_to_install(
    ci: str, end: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(end, match="apt-get install -y chromium"):
        chromium_path()


def test_any_of_its_names_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", {"google-chrome": "/opt/chrome"}.get)
    assert chromium_path() == "/opt/chrome"
