"""Whether replicas of the web UI and of routers reach what they need, by their own word."""

from __future__ import annotations

import time

import httpx

from deploy.errors import Problem, ServiceError
from deploy.live.http import get

DATABASE_SECONDS = 30
"""How long a router may take to reach its database."""


def web_ui_is_ready(base_url: str) -> str:
    """Ask one of several web UIs whether it reaches what they share.

    Args:
        base_url: address of the replica.

    Raises:
        ServiceError: if it does not.
    """
    get(base_url, "/ready", "")
    return "reaches its database and Valkey"


def router_is_ready(base_url: str, key: str, *, has_database: bool) -> str:
    """Ask LiteLLM for its models, and whether it reaches its database.

    Args:
        base_url: address of the replica.
        key: the master key.
        has_database: whether it keeps keys.

    Raises:
        ServiceError: if it does not answer, or does not reach its database.
    """
    models = get(base_url, "/v1/models", key)["data"]
    if has_database:
        _wait_for_database(base_url, key)
    served = "1 model" if len(models) == 1 else f"{len(models)} models"
    return f"serves {served}" + (", and reaches its database" if has_database else "")


def sender_is_ready(base_url: str, key: str, models: list[str]) -> str:
    """Ask Aristote's sender for its models: its database knows the key, RabbitMQ each queue.

    Args:
        base_url: address of the replica.
        key: the master key.
        models: what must have a queue.

    Raises:
        ServiceError: if it does not answer, or lacks one of them.
    """
    known = {str(model["id"]) for model in get(base_url, "/v1/models", key)["data"]}
    missing = [model for model in models if model not in known]
    if missing:
        fix = "see what `atelier status` says of its consumer"
        raise ServiceError(Problem(", ".join(missing), "RabbitMQ has no queue for it", fix=fix))
    served = "1 model" if len(models) == 1 else f"{len(models)} models"
    return f"has the queues of {served}, and reaches its database"


def _wait_for_database(base_url: str, key: str) -> None:
    """LiteLLM gives its database little time to answer: a busy one is asked again."""
    deadline = time.monotonic() + DATABASE_SECONDS
    not_ready = httpx.codes.SERVICE_UNAVAILABLE
    while (found := get(base_url, "/health/readiness", key, also=not_ready)["db"]) != "connected":
        if time.monotonic() > deadline:
            problem = Problem("router", f"its database is {found!r}", "'connected'")
            raise ServiceError(problem)
        time.sleep(1)
