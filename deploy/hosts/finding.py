"""What a look at a host finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy.errors import Problem

Status = Literal["ok", "warning", "problem"]
FINDINGS_FILE = "ATELIER_FINDINGS_FILE"
"""Environment variable: a file to which every finding is appended as a line of JSON."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what was looked at, e.g. ``memory``.
        status: whether it is as it should be.
        found: what is there.
        allowed: what should be there; empty where the fix says it all.
        fix: what the operator does next; empty where nothing is to be done.
    """

    name: str
    status: Status
    found: str
    allowed: str = ""
    fix: str = ""

    @property
    def problem(self) -> Problem:
        """The same as an error shows it."""
        return Problem(self.name, self.found, self.allowed, self.fix)


def problems(findings: list[Finding]) -> list[Problem]:
    """What keeps a host from being deployed to."""
    return [finding.problem for finding in findings if finding.status == "problem"]
