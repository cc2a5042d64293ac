"""Who used how much: LiteLLM's daily figures, added up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from deploy.errors import Problem, SpecError

By = Literal["user", "team", "model"]
SINCE = re.compile(r"([1-9]\d{0,3})(d|w)")
DAYS = {"d": 1, "w": 7}
NO_PERSON = {"default_user_id": "(master key)", "Unassigned": "(no team)"}
"""What LiteLLM calls the use of no person and of no team: that of the master key, and so of
``verify`` and of those in the web UI who have no key. No person or team can have the names in
brackets."""


@dataclass(frozen=True)
class Usage:
    """What one person, team or model was used for."""

    name: str
    requests: int = 0
    failed_requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    spend: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.name,
            self.requests + other.requests,
            self.failed_requests + other.failed_requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.spend + other.spend,
        )


def path_of(by: By) -> str:
    """Which of LiteLLM's figures."""
    return "/team/daily/activity" if by == "team" else "/user/daily/activity"


def add_up(days: Iterable[Mapping[str, Any]], by: By) -> list[Usage]:
    """The use of each person, team or model, most tokens first.

    Args:
        days: ``results`` of LiteLLM's answer.
        by: what is told apart.
    """
    part = "model_groups" if by == "model" else "entities"
    found: dict[str, Usage] = {}
    for day in days:
        for known_as, row in day["breakdown"].get(part, {}).items():
            name = known_as if by == "model" else NO_PERSON.get(known_as, known_as)
            used = _usage(name, row["metrics"])
            found[name] = found[name] + used if name in found else used
    return by_tokens(found.values())


def of_all(routers: Iterable[Iterable[Usage]]) -> list[Usage]:
    """The use of each person, team or model at every router together, most tokens first."""
    found: dict[str, Usage] = {}
    for usage in (each for router in routers for each in router):
        found[usage.name] = found[usage.name] + usage if usage.name in found else usage
    return by_tokens(found.values())


def by_tokens(usages: Iterable[Usage]) -> list[Usage]:
    """Most tokens first."""
    return sorted(
        usages, key=lambda usage: (-usage.prompt_tokens - usage.completion_tokens, usage.name)
    )


def _usage(name: str, metrics: Mapping[str, Any]) -> Usage:
    return Usage(
        name,
        int(metrics["api_requests"]),
        int(metrics["failed_requests"]),
        int(metrics["prompt_tokens"]),
        int(metrics["completion_tokens"]),
        float(metrics["spend"]),
    )


def first_day(since: str, today: date) -> date:
    """The first day of a period that ends today: a number of days or weeks, or a date.

    Raises:
        SpecError: if it is neither.
    """
    match = SINCE.fullmatch(since)
    if match:
        return today - timedelta(days=int(match[1]) * DAYS[match[2]])
    try:
        return date.fromisoformat(since)
    except ValueError:
        allowed = "days or weeks such as 7d or 2w, or a date such as 2026-01-31"
        raise SpecError(Problem("--since", repr(since), allowed)) from None
