"""A web server with the faults of real ones; a cache of the test's own; a trainer's stand-in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kn_lightning.data.modules import MaskedSentences
from kn_lightning.encoders.encoder import Encoder


class Server(ThreadingHTTPServer):
    """Serves ``files`` by their path.

    Attributes:
        files: contents.
        sent: bytes after which each answer breaks off; None: all are sent.
        announced: what Content-Length says; None: the truth.
        ranges: whether a download may go on in the middle.
        asked: where each request began, from the first byte on.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.sent: int | None = None
        self.announced: int | None = None
        self.ranges = True
        self.asked: list[int] = []

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:  # noqa: N802
        """Answer as the server is set."""
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = 0
        if self.server.ranges and "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.server.asked.append(start)
        body = content[start:]
        if start and not body:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        length = len(body) if self.server.announced is None else self.server.announced
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body[: self.server.sent])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's folder in an empty cache."""
    for name in ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    import pooch

    return Path(pooch.os_cache("kn_lightning"))


@pytest.fixture
def attach(bert: Encoder) -> Callable[..., Any]:
    """Ties a DataModule to the tiny BERT, as a trainer of so many ranks does."""

    def attached(
        data: MaskedSentences, rank: int = 0, ranks: int = 1, several: bool = False
    ) -> Any:
        module = SimpleNamespace(encoder=bert, several=several)
        trainer = SimpleNamespace(lightning_module=module, global_rank=rank, world_size=ranks)
        data.trainer = cast("Any", trainer)
        return data

    return attached
