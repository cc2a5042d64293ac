"""Servers of a test, in threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer
from typing import Any, TypeVar

Server = TypeVar("Server", bound=BaseServer)
END_SECONDS = 0.01
"""How often it looks whether it is to end: half a second otherwise, at the end of every test."""


class QuietHandler(BaseHTTPRequestHandler):
    """Answers, and logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """It answers until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, args=[END_SECONDS], daemon=True)
    with server:
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
