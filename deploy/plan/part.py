"""The base of what a plan consists of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class PlanPart(BaseModel):
    """Something a plan decided: immutable."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")
