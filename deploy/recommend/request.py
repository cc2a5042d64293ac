"""What a recommendation is asked for, and requests that cannot be meant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from deploy.catalog import DEFAULT_USE, Use
from deploy.cost import Rates
from deploy.errors import PlanError, Problem
from deploy.recommend.work import DEFAULT_WORK, WORKS, Work

LONGEST_CONTEXT_TOKENS = 10**8
MOST_USERS = 100_000


@dataclass(frozen=True)
class RecommendRequest:
    """So many users, and what they have."""

    users: int
    """How many people use it; all of them may ask at once."""
    gpus: tuple[str, ...] = ()
    """Ids of the GPUs there are; none to search the catalogue."""
    use: Use = DEFAULT_USE
    """What it is for; it decides which licences will do."""
    work: str = DEFAULT_WORK
    """``agents``, ``chat`` or ``completion``."""
    with_completion: bool = False
    """Whether a small model completes code on the same GPUs."""
    context_tokens: int | None = None
    """Tokens of a request; what the work usually takes where nothing is said."""
    budget_eur: float | None = None
    """The most that may be paid once, for GPUs."""
    budget_eur_per_month: float | None = None
    """The most that it may cost a month, all counted."""
    rates: Rates = field(default_factory=Rates)
    """Years, price of electricity, utilization."""
    saas_eur_per_million_tokens: float | None = None
    """Price of a service to compare with."""

    @property
    def context(self) -> int:
        """Tokens of a request."""
        return self.context_tokens or self.needs.context_tokens

    @property
    def needs(self) -> Work:
        """What the work asks of a model."""
        return WORKS[self.work]

    @property
    def role(self) -> str:
        """What the model must be made for."""
        return self.needs.role

    @property
    def has_limit(self) -> bool:
        """Whether the operator said what there is: GPUs or money."""
        budgets = (self.budget_eur, self.budget_eur_per_month)
        return bool(self.gpus) or any(budget is not None for budget in budgets)


def check_request(request: RecommendRequest) -> None:
    """Refuse values out of bounds.

    Raises:
        PlanError: with one problem per value.
    """
    problems = tuple(_problems(request))
    if problems:
        raise PlanError(*problems)


def _problems(request: RecommendRequest) -> Iterator[Problem]:
    if not 1 <= request.users <= MOST_USERS:
        yield Problem("users", str(request.users), f"a whole number from 1 to {MOST_USERS}")
    if request.work not in WORKS:
        yield Problem("work", repr(request.work), ", ".join(WORKS))
    context = request.context_tokens
    if context is not None and not 1 <= context <= LONGEST_CONTEXT_TOKENS:
        allowed = f"a whole number from 1 to {LONGEST_CONTEXT_TOKENS}"
        yield Problem("context", str(context), allowed)
    rates = request.rates
    yield from _out_of("years", rates.years, 0.1, 20)
    yield from _out_of("eur_per_kwh", rates.eur_per_kwh, 0, 10)
    yield from _out_of("utilization", rates.utilization, 0.001, 1)
    yield from _out_of("budget", request.budget_eur, 1, 10**9)
    yield from _out_of("budget_per_month", request.budget_eur_per_month, 1, 10**9)
    saas = request.saas_eur_per_million_tokens
    yield from _out_of("saas_eur_per_million_tokens", saas, 0.0001, 10**6)


def _out_of(path: str, value: float | None, least: float, most: float) -> Iterator[Problem]:
    if value is not None and not (math.isfinite(value) and least <= value <= most):
        yield Problem(path, f"{value:g}", f"a number from {least:g} to {most:,.0f}")


def counted(users: int) -> str:
    """So many users, in words."""
    return "1 user" if users == 1 else f"{users} users"
