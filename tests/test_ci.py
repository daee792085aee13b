"""What ``.ci/`` does where a browser or the network is missing, and with dead links."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from callbacks.commands import REPOSITORY


def script(name: str, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """A script of ``.ci/``, with this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [REPOSITORY / ".ci" / name, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": path, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class _Site(BaseHTTPRequestHandler):
    """One page that is there."""

    def do_HEAD(self) -> None:  # noqa: N802 - http.server's name
        self.send_response(200 if self.path in ("/", "/live") else 404)
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815 - which linkcheck tries after a HEAD that fails

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    """Address of a server in this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("page", "code"), [("live", 0), ("dead", 1)])
def test_links_that_lead_nowhere_fail_where_there_is_a_network(
    page: str, code: int, site: str, tmp_path: Path
) -> None:
    (tmp_path / "conf.py").touch()
    (tmp_path / "index.rst").write_text(f"A\n=\n\n`this <{site}/{page}>`__\n", encoding="utf-8")
    done = script("links", tmp_path, site, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert ("are dead: mend those" in said) == (f"{site}/dead" in said) == bool(code)
    assert "no network" not in said


def test_links_are_left_out_in_one_line_without_a_network() -> None:
    done = script("links", "docs", "http://127.0.0.1:1", NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    (line,) = done.stderr.splitlines()
    assert line.startswith("no network (http://127.0.0.1:1 does not answer)")
    assert (done.returncode, done.stdout) == (0, "")


def test_links_fail_where_nothing_can_ask_for_them(tmp_path: Path) -> None:
    """A Python without requests is no missing network."""
    (tmp_path / "requests.py").write_text("raise ImportError", encoding="utf-8")
    done = script("links", "docs", PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert "ImportError" in done.stderr
    assert "no network" not in done.stderr
    assert "are dead" not in done.stderr


@pytest.mark.parametrize("allowed", ["", "1"])
def test_run_ends_without_a_browser_unless_that_is_allowed(allowed: str, tmp_path: Path) -> None:
    for program in ("bash", "dirname", "id", "mktemp", "rm"):
        found = shutil.which(program)
        assert found is not None
        (tmp_path / program).symlink_to(found)
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\nexit 7\n", encoding="utf-8")  # the first step behind the browser
    python.chmod(0o755)
    done = subprocess.run(
        [tmp_path / "bash", REPOSITORY / ".ci" / "run"],
        env={"PATH": str(tmp_path), "ALLOW_NO_BROWSER": allowed},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("no Chromium can be had here: ")
    assert ("skipped" in line) == bool(allowed)
    assert done.returncode == (7 if allowed else 1)
