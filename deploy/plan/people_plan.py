"""What a plan says of people and of what they may use."""

from __future__ import annotations

from datetime import date

from deploy.plan.part import PlanPart
from deploy.spec import LimitsSpec

LIMITED = ("models", "expires", *LimitsSpec.model_fields)
"""What teams and people may be limited by."""


class TeamPlan(PlanPart):
    """A team and what it may use."""

    name: str
    models: tuple[str, ...] = ()
    """What it may ask for; all models if empty."""
    max_budget: float | None = None
    budget_duration: str | None = None
    tpm_limit: int | None = None
    rpm_limit: int | None = None


class PersonPlan(PlanPart):
    """A person, and what their key is good for."""

    name: str
    email: str | None = None
    team: str | None = None
    models: tuple[str, ...] = ()
    """What they may ask for; all models of their team if empty."""
    max_budget: float | None = None
    budget_duration: str | None = None
    tpm_limit: int | None = None
    rpm_limit: int | None = None
    max_parallel_requests: int | None = None
    expires: date | None = None
    """The last day of the key, in UTC."""
    disabled: bool = False
    public_key: str | None = None


class PeoplePlan(PlanPart):
    """Everybody with a key."""

    teams: tuple[TeamPlan, ...] = ()
    people: tuple[PersonPlan, ...] = ()
    limits: LimitsSpec = LimitsSpec()
    """What a person may use unless something else is said."""

    @property
    def has_limits(self) -> bool:
        """Whether somebody may use less than everything, for as long as they like."""
        unlimited = LimitsSpec()
        own = (
            value for each in (*self.teams, *self.people) for name, value in each if name in LIMITED
        )
        return self.limits != unlimited or any(value not in {None, ()} for value in own)

    def person(self, name: str) -> PersonPlan | None:
        """A person by name, if declared."""
        return next((person for person in self.people if person.name == name), None)

    def team(self, name: str) -> TeamPlan | None:
        """A team by name, if declared."""
        return next((team for team in self.teams if team.name == name), None)
