"""A question to a service, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deploy.live.checks import Answer


@dataclass(frozen=True)
class Question:
    """What is asked of a service."""

    name: str
    host: str
    ask: Callable[[], str | Answer]
    """Returns what was answered; see run_check."""
    model: str = ""
    """The served model that answers; empty where none does."""
