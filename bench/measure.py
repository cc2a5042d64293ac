"""What was measured, and summaries of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from bench.stack import Run

Counter = Callable[[], Callable[[], tuple[int, int]]]
"""Begins to count; what it returns tells connections and commands since then."""


@dataclass
class Row:
    """One thing that was done several times."""

    where: str
    what: str
    tool: str
    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    connections: int | None = None
    commands: int | None = None
    steps: dict[str, float] = field(default_factory=dict)
    """What one more run did, and for how many seconds."""

    @property
    def median(self) -> float:
        """Median of the wall times, in seconds."""
        return median(self.seconds)

    @property
    def spread(self) -> str:
        """The fastest and the slowest."""
        if len(self.seconds) == 1:
            return "once"
        return f"{min(self.seconds):.2f} to {max(self.seconds):.2f} (n={len(self.seconds)})"


CHANGED = re.compile(r"changed=[1-9]|Grand total +\d+ +[1-9]")
"""In what Ansible, or pyinfra, says at the end of a run that changed something."""


def repeat(row: Row, times: int, run: Callable[[], Run], count: Counter | None = None) -> Row:
    """Run several times; times and counts go into the row.

    Raises:
        RuntimeError: with what a run printed that should have changed nothing, but did.
    """
    for _ in range(times):
        counted = count() if count else None
        last = run()
        if "no change" in row.what and CHANGED.search(last.output):
            raise RuntimeError(f"{row.tool}, {row.what}: something changed\n{last.output}")
        row.seconds.append(last.seconds)
        row.processor_seconds.append(last.processor_seconds)
        if counted:
            row.connections, row.commands = counted()
    return row


def speedup(rows: list[Row], where: str, what: str, tool: str) -> float | None:
    """How many times faster Atelier was than a tool; None where one of them did not run."""
    found = {row.tool: row.median for row in rows if (row.where, row.what) == (where, what)}
    if "Atelier" not in found or tool not in found:
        return None
    return found[tool] / found["Atelier"]
