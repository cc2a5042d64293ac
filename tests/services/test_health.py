"""Health commands, run by sh with nothing in its path but what an image may have."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.services.health import http_check
from tests.serving import QuietHandler, running

STATUS = {"/health": 200, "/broken": 503}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(STATUS[self.path])
            self.end_headers()

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield int(server.server_address[1])


def run(tool: str, port: int, path: str, directory: Path) -> int:
    program = sys.executable if tool == "python3" else shutil.which(tool)
    if program is None:
        pytest.skip(f"{tool} is not installed")
    (directory / tool).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    (directory / tool).chmod(0o755)
    # a proxy that refuses everything
    environment = {"PATH": str(directory), "http_proxy": "http://127.0.0.1:1"}
    command = ["/bin/sh", "-c", http_check(port, path)]
    return subprocess.run(command, env=environment, capture_output=True).returncode


@pytest.mark.parametrize("tool", ["curl", "bash", "python3"])
def test_only_a_good_answer_is_healthy(tool: str, port: int, tmp_path: Path) -> None:
    assert run(tool, port, "/health", tmp_path) == 0
    assert run(tool, port, "/broken", tmp_path) != 0
    assert run(tool, 1, "/health", tmp_path) != 0
