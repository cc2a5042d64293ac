"""The routers by kind, and how one is reached."""

from __future__ import annotations

from typing import Protocol

from deploy.plan.service_plans import RouterPlan
from deploy.services import aristote, litellm
from deploy.spec.router import RouterKind


class RouterModule(Protocol):
    """What the module of a router offers apart from its units."""

    PORT: int
    """The port that it listens on in its container."""
    HEALTH: str
    """Path that it answers with 200, without a key, while it can be asked."""


MODULES: dict[RouterKind, RouterModule] = {"aristote": aristote, "litellm": litellm}


def port(router: RouterPlan) -> int:
    """The port that a router listens on in its containers."""
    return MODULES[router.spec.kind].PORT


def health(router: RouterPlan) -> str:
    """The path by which the entry finds out whether a router can be asked."""
    return MODULES[router.spec.kind].HEALTH
