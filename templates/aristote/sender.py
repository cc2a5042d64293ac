"""Runs Aristote's sender, and ends it when it can answer nothing any more.

    python3 sender.py SETTINGS

A sender that has lost its channel to RabbitMQ says 503 at /health/readiness for ever, and takes no
request any more; only a new process helps (docs/aristote.md). Docker starts nothing again that is
unhealthy, but it does so when the first process of a container ends: this one.

It brings the tables up to date and writes the deployment's own account before. Upstream's entry
point is left out: v1.5.0 runs ``update-ca-certificates`` there, as a user that may not.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

EXIT_STATUS = 75
"""Of a container whose sender was ended: EX_TEMPFAIL of sysexits.h."""


@dataclass(frozen=True)
class Settings:
    """What is run and watched."""

    directory: str
    """Where Aristote's code is."""
    before: list[list[str]]
    """Commands that must succeed first."""
    command: list[str]
    """The sender."""
    url: str
    """Answers 200 while it can be asked."""
    seconds: float
    """How long it may answer something else, or nothing."""
    interval: float = 5.0
    """From one look to the next."""


class Watch:
    """Remembers when the sender could last be asked."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.last: float | None = None
        """Before it has been ready once, it is starting."""

    def hangs(self, now: float) -> bool:
        """One look: whether it has not been ready for too long."""
        if self._is_ready():
            self.last = now
        return self.last is not None and now - self.last > self.settings.seconds

    def _is_ready(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        failures = (OSError, http.client.HTTPException)
        with suppress(*failures), opener.open(self.settings.url, timeout=5) as answer:
            return bool(answer.status == 200)
        return False


class Children:
    """Starts programs, one after the other, and hands signals on to the one that runs.

    The first process of a container must do so itself: signals that it does not wait for are lost.
    """

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self.is_stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._forward)

    def start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """A program that ends at once where a signal has come before."""
        self.child = subprocess.Popen(command, env=environment)
        if self.is_stopping:
            self.child.terminate()
        return self.child

    def _forward(self, sent: int, _: Any) -> None:
        self.is_stopping = True
        if self.child:
            self.child.send_signal(sent)


def main(arguments: list[str]) -> int:
    """Run the sender until it ends, or cannot be asked."""
    settings = Settings(**json.loads(arguments[0]))
    os.chdir(settings.directory)
    environment = os.environ | {"PYTHONPATH": settings.directory}
    children = Children()
    for command in settings.before:
        if status := children.start(command, environment).wait():
            sys.stderr.write(f"{command[-1]} ended with {status}\n")
            return 1
    # the sender itself needs no master key: its users are in the database
    environment.pop("ATELIER_MASTER_KEY", None)
    running = children.start(settings.command, environment)
    watch = Watch(settings)
    while True:
        with suppress(subprocess.TimeoutExpired):
            status = running.wait(settings.interval)
            return 128 - status if status < 0 else status
        if not children.is_stopping and watch.hangs(time.monotonic()):
            sys.stderr.write(f"not ready for {settings.seconds:g} s: the sender is started anew\n")
            running.kill()
            running.wait()
            return EXIT_STATUS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
