"""Names of what tests make on this machine, where several checkouts may run theirs at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent
CHECKOUT = hashlib.sha256(str(PROJECT).encode()).hexdigest()[:6]
NAME = f"e2e-{CHECKOUT}"
"""The deployment on this machine that most tests change."""


def host_name(purpose: str) -> str:
    """Name of a test host's container."""
    return f"e2e-host-{CHECKOUT}-{purpose}"
