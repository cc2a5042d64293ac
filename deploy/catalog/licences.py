"""Licences of the models and the software, and what they allow."""

from __future__ import annotations

from enum import StrEnum

from pydantic import model_validator

from deploy.catalog.entry import Entry


class Use(StrEnum):
    """What a deployment is used for, as its operator declares it."""

    RESEARCH = "research"
    """Research and teaching, without commercial purpose."""
    INTERNAL_COMMERCIAL = "internal_commercial"
    """The work of an enterprise's own staff."""
    THIRD_PARTY_SERVICE = "third_party_service"
    """A service to others, paid or not."""


class Permission(Entry):
    """Whether a licence allows a use."""

    allowed: bool
    """Whether it does."""
    clause: str | None = None
    """The clause that forbids or limits it."""
    condition: str = ""
    """What that clause demands."""

    @model_validator(mode="after")
    def _refusals_and_conditions_name_their_clause(self) -> Permission:
        if self.clause is None and (not self.allowed or self.condition):
            raise ValueError("a refusal or a condition names its clause")
        return self


DEFAULT_USE = Use.INTERNAL_COMMERCIAL
"""What a deployment is for unless it says so."""


class UserThreshold(Entry):
    """A number of users above which something else applies."""

    users: int
    """Up to this many, nothing changes."""
    period: str
    """Over which time users are counted, e.g. ``month``."""
    clause: str
    """The clause that says so."""
    consequence: str
    """What applies above it."""
    forbids: bool = False
    """Whether the work may not be used above it without another agreement."""


class Uses(Entry):
    """What a licence says of every use."""

    research: Permission
    """Research and teaching."""
    internal_commercial: Permission
    """The work of an enterprise's own staff."""
    third_party_service: Permission
    """A service to others."""


class Licence(Entry):
    """One licence."""

    name: str
    """Its full name."""
    url: str
    """Its text."""
    uses: Uses
    """What it allows."""
    user_thresholds: tuple[UserThreshold, ...] = ()
    """Numbers of users above which more is asked."""
    duties: tuple[str, ...] = ()
    """What everybody who uses or passes on the work has to do."""
    notes: str = ""
    """What else there is to know."""

    def permission(self, use: Use) -> Permission:
        """What it says of a use."""
        permission: Permission = getattr(self.uses, use.value)
        return permission

    def exceeded_thresholds(self, users: int) -> tuple[UserThreshold, ...]:
        """The thresholds that so many users exceed."""
        return tuple(limit for limit in self.user_thresholds if users > limit.users)
