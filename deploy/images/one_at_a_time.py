"""Processes that need the same image wait for the one that builds it."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK_AGAIN_SECONDS = 0.5


@contextmanager
def one_at_a_time(tag: str) -> Iterator[None]:
    """Hold the lock of an image; it is free again when this process ends, however it does."""
    image = re.sub(r"[^\w.-]+", "-", tag)
    name = f"atelier-{os.getuid()}-build-{image}.lock"
    with (Path(tempfile.gettempdir()) / name).open("a") as file:
        while not _take(file.fileno()):
            # not a blocking lock: pyinfra's hosts are worked on in one thread
            time.sleep(LOOK_AGAIN_SECONDS)
        yield


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
