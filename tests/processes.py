"""Programs of a test, which end with it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NO_AGENT = 2
"""How ``ssh-add`` ends where no agent answers."""


@contextmanager
def started(command: Sequence[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is ended with the block, also by what goes wrong in it.

    Leaving ``subprocess.Popen`` waits for the program: for ever, where nobody told it to end.
    """
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def ssh_agent(place: Path) -> Iterator[Path]:
    """An agent that answers at this socket: it is there before it does."""
    environment = os.environ | {"SSH_AUTH_SOCK": str(place)}
    with started(["ssh-agent", "-D", "-a", place]) as process:
        ask = ["ssh-add", "-l"]
        while subprocess.run(ask, env=environment, capture_output=True).returncode == NO_AGENT:
            assert process.poll() is None
            time.sleep(0.02)
        yield place
