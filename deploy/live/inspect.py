"""From Docker's description of a container to ours."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from deploy.changes.live import LiveContainer
from deploy.services.container import (
    LABEL_DEPLOYMENT,
    LABEL_HOLDS,
    LABEL_SERVICE,
    LABEL_SPEC,
)
from deploy.services.unit import holds_of


def live_container(attributes: dict[str, Any]) -> LiveContainer:
    """A container from what ``docker container inspect`` says of it."""
    state, limits = attributes["State"], attributes["HostConfig"]
    labels = attributes["Config"].get("Labels") or {}
    spec = parse_spec(labels.get(LABEL_SPEC))
    return LiveContainer(
        name=attributes["Name"].removeprefix("/"),
        image_id=attributes["Image"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status"),
        started_at=parse_time(state["StartedAt"]),
        restart=limits["RestartPolicy"]["Name"] or "no",
        memory_bytes=limits["Memory"],
        networks=tuple(sorted(attributes["NetworkSettings"]["Networks"] or {})),
        deployment=labels.get(LABEL_DEPLOYMENT) or None,
        spec=spec,
        holds=holds_of(parse_spec(labels.get(LABEL_HOLDS)), spec),
        service=labels.get(LABEL_SERVICE) or "",
    )


def parse_spec(label: str | None) -> dict[str, Any] | None:
    """The mapping in a label; ``None`` where there is none that can be read."""
    try:
        spec = json.loads(label or "null")
    except ValueError:
        return None
    return spec if isinstance(spec, dict) else None


def parse_time(timestamp: str) -> float:
    """The engine's UTC timestamp with nanoseconds, as seconds since the epoch; 0 for never."""
    if timestamp.startswith("0001"):
        return 0
    return datetime.fromisoformat(timestamp[:19] + "+00:00").timestamp()
