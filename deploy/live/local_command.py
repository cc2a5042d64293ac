"""A local socket that leads to a command on this machine, such as Docker's client with sudo."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from deploy.live.tunnel import CHUNK_BYTES, open_socket, refuse


def uses_context() -> bool:
    """Whether Docker's client here goes where its context says, which Python's does not know.

    So it does for a rootless Docker or Docker Desktop, which make a context when they are set up.
    """
    if os.environ.get("DOCKER_HOST"):
        return False
    named = os.environ.get("DOCKER_CONTEXT") or _current_context()
    return named not in {"", "default"}


def _current_context() -> str:
    directory = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        settings = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Docker's client says what is wrong with it
        return ""
    return str(settings.get("currentContext") or "") if isinstance(settings, dict) else ""


@contextmanager
def open_local_command(command: str, first_line: str = "") -> Iterator[Path]:
    """Make a socket file, for this user alone, that talks to a command's standard input and output.

    Args:
        command: for ``sh``.
        first_line: what it reads before anything else, e.g. sudo a password.

    Yields:
        Path of the socket; each connection to it starts the command again.
    """
    with open_socket(partial(_answer, command=command, first_line=first_line)) as path:
        yield path


def _answer(local: socket.socket, command: str, first_line: str) -> None:
    pipe = subprocess.PIPE
    with (
        local,
        subprocess.Popen(
            ["sh", "-c", f"exec {command}"], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0
        ) as process,
    ):
        assert process.stdin is not None  # noqa: S101 - pipes, see above
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        threading.Thread(target=_feed, args=(local, process.stdin, first_line), daemon=True).start()
        answered = False
        with suppress(OSError):
            while data := process.stdout.read(CHUNK_BYTES):
                answered = True
                local.sendall(data)
        if process.wait() and not answered:
            refuse(local, process.stderr.read().decode("utf-8", "replace"))


def _feed(local: socket.socket, stdin: IO[bytes], first_line: str) -> None:
    """Pass on what is asked until no one asks any more; then the command ends."""
    with suppress(OSError, ValueError), stdin:
        stdin.write(first_line.encode())
        while data := local.recv(CHUNK_BYTES):
            stdin.write(data)
