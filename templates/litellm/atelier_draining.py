"""Replicas that are being replaced get no new requests; where there is no other, requests wait.

Atelier writes who that is while LiteLLM runs.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

LOOK_SECONDS = 0.2
"""Between two looks for a replica that may be used again."""


class Draining:
    """The replicas that get no new requests because they are being replaced."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def replicas(self) -> frozenset[str]:
        """Their ids; each file says until when, as the run that wrote it may be killed."""
        try:
            files = [path for path in self._directory.iterdir() if path.name[0] != "."]
        except OSError:
            return frozenset()
        return frozenset(replica for file in files for replica in _away(file))

    async def without(self, replicas: list[str]) -> list[str]:
        """The replicas that may be used; waits until there is one."""
        while True:
            away = self.replicas()
            usable = [replica for replica in replicas if replica not in away]
            if usable or not replicas:
                return usable
            await asyncio.sleep(LOOK_SECONDS)


def _away(file: Path) -> list[str]:
    """Whom a file keeps requests away from; it may be gone by now."""
    try:
        until, *replicas = file.read_text().split()
        return replicas if float(until) > time.time() else []
    except (OSError, ValueError):
        return []
