"""Which replicas a request may go to: for a while without those that failed; one is left."""

from __future__ import annotations

import time
from collections.abc import Callable

SHORTEST_SECONDS = 15
LONGEST_SECONDS = 240


class Absence:
    """How long a replica is left out."""

    def __init__(self, until: float, seconds: float) -> None:
        self.until, self.seconds = until, seconds


class LeftOut:
    """The replicas that get no requests for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._absences: dict[str, Absence] = {}

    def add(self, replica: str) -> bool:
        """Leave a replica out; says whether it was not left out before."""
        if replica in self._absences:
            return False
        self._absences[replica] = Absence(self._clock() + SHORTEST_SECONDS, SHORTEST_SECONDS)
        return True

    def remove(self, replica: str) -> bool:
        """It answered; says whether it was left out."""
        return self._absences.pop(replica, None) is not None

    def choose(self, replicas: list[str]) -> list[str]:
        """Those that a request may go to; one whose time is over is tried by one request alone."""
        present = [replica for replica in replicas if replica not in self._absences]
        return (present and self._on_trial(replicas)) or present or replicas

    def _on_trial(self, replicas: list[str]) -> list[str]:
        for replica in replicas:
            absence = self._absences.get(replica)
            if absence and absence.until <= self._clock():
                absence.seconds = min(2 * absence.seconds, LONGEST_SECONDS)
                absence.until = self._clock() + absence.seconds
                return [replica]
        return []
