"""Who may use a deployment, and how much.

What a team may use is shared by its people; what a person may use is the limit of their own key.
Limits are LiteLLM's: https://docs.litellm.ai/docs/proxy/users
"""

from __future__ import annotations

import re
from datetime import date

from pydantic import Field, field_validator

from deploy.spec.base import Spec, refusal

TEAM = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?")
PERSON = re.compile(r"[a-z0-9]([a-z0-9._@+-]{0,98}[a-z0-9])?")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
DURATION = re.compile(r"[1-9][0-9]{0,4}(h|d|w|mo)")
PUBLIC_KEY = re.compile(r"(age1[0-9a-z]{58}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( [^\n]*)?)")
RESERVED = {"default_user_id", "litellm-dashboard"}
"""LiteLLM's own."""


class SharedLimits(Spec):
    """Limits that a team and a person can have; ``None`` where there is none."""

    max_budget: float | None = Field(default=None, gt=0, le=1e9)
    """What may be spent in a period, in the currency of ``Router(prices=...)``."""
    budget_duration: str | None = None
    """The period, after which spending starts from 0 again: hours, days, weeks or months, e.g.
    ``24h``, ``7d``, ``1mo``; by default it never does."""
    tpm_limit: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Tokens per minute, of prompts and answers together."""
    rpm_limit: int | None = Field(default=None, ge=1, le=1_000_000)
    """Requests per minute."""

    @field_validator("budget_duration")
    @classmethod
    def _duration_has_a_unit(cls, duration: str | None) -> str | None:
        if duration is not None and not DURATION.fullmatch(duration):
            raise refusal(repr(duration), "a number and h, d, w or mo, e.g. '24h', '7d' or '1mo'")
        return duration


class LimitsSpec(SharedLimits):
    """Limits of one person."""

    max_parallel_requests: int | None = Field(default=None, ge=1, le=10_000)
    """Requests that are answered at the same time."""


class TeamSpec(SharedLimits):
    """People who share models, and what they may use all together."""

    name: str
    """Its name, also in the router."""
    models: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Served model names and aliases that its people may ask for; all of them by default."""

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        if not TEAM.fullmatch(name) or name in RESERVED:
            raise refusal(
                repr(name), "at most 64 lower-case letters, digits, dots and hyphens, e.g. research"
            )
        return name


class PersonSpec(LimitsSpec):
    """Someone with a key of their own; limits that are not set are the deployment's ``limits``."""

    name: str
    """Login or e-mail address; unique, and what use is counted under."""
    email: str | None = None
    """E-mail address; the name by default where it is one."""
    team: str | None = None
    """Name of their team."""
    models: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Served model names and aliases that they may ask for; their team's by default."""
    expires: date | None = None
    """The last day on which the key is valid, in UTC, e.g. ``2026-12-31``; no end by default."""
    disabled: bool = False
    """Whether the key is refused for now, and kept."""
    public_key: str | None = None
    """``age1...``, ``ssh-ed25519 ...`` or ``ssh-rsa ...``: a new key is encrypted for it."""

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        if not PERSON.fullmatch(name) or name in RESERVED:
            raise refusal(
                repr(name), "a login or an e-mail address, in lower case, of at most 100 characters"
            )
        return name

    @field_validator("email")
    @classmethod
    def _email_is_one(cls, email: str | None) -> str | None:
        if email is not None and not EMAIL.fullmatch(email):
            raise refusal(repr(email), "an e-mail address")
        return email

    @field_validator("public_key")
    @classmethod
    def _public_key_is_public(cls, key: str | None) -> str | None:
        if key is not None and not PUBLIC_KEY.fullmatch(key):
            # somebody may have put the private key there: it is not quoted
            raise refusal(
                "not a public key", "age1..., ssh-ed25519 ... or ssh-rsa ..., on one line"
            )
        return key

    @property
    def address(self) -> str | None:
        """Their e-mail address, if it is known."""
        return self.email or (self.name if "@" in self.name else None)
