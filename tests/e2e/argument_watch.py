"""Collects the arguments of every process on this machine, those of its containers among them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

SECONDS_BETWEEN = 0.01


@dataclass
class ArgumentWatch:
    """What was seen in all of its watches.

    Other tests run on this machine at the same time: look only for what is of this one alone.
    """

    of_each: set[bytes] = field(default_factory=set)
    rounds: int = 0

    @property
    def seen(self) -> bytes:
        return b"\0".join(self.of_each)

    @contextmanager
    def watching(self) -> Iterator[None]:
        done = threading.Event()

        def watch() -> None:
            while not done.wait(SECONDS_BETWEEN):
                self.look()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def look(self) -> None:
        for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - none is asked for
            # it may have ended meanwhile
            with suppress(OSError):
                self.of_each.add(Path("/proc", name, "cmdline").read_bytes())
        self.rounds += 1
