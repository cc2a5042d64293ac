"""What a plan promises so many people: pure."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.live.load.workload import Shape
from deploy.plan.deployment_plan import ModelPlan


@dataclass(frozen=True)
class Promise:
    """Of one model, for one use."""

    users: int
    """For how many people it was planned."""
    answered_at_once: int
    """How many of them; the others wait meanwhile."""
    tokens_per_second_per_user: float | None
    """While all ask at once; ``None`` where the plan promises none, e.g. on CPUs."""
    first_token_seconds: float | None
    """To read a prompt that no cache holds, and write the first token; without waiting."""


def promise(model: ModelPlan, users: int, shape: Shape) -> Promise:
    """What a plan says of a model.

    Args:
        model: the model in the plan for so many people.
        users: how many those are.
        shape: of the requests.
    """
    speed, reading = model.tokens_per_second_per_user, model.prompt_tokens_per_second
    first = None
    if speed and reading:
        first = shape.prompt_tokens / reading + 1 / speed
    return Promise(users, min(model.concurrent_users, users), speed or None, first)
