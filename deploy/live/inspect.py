"""From Docker's description of a container, and systemd's or launchd's of a service, to ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from math import inf
from typing import Any

from deploy.changes.live import LiveContainer, LiveService
from deploy.services.container import (
    LABEL_DEPLOYMENT,
    LABEL_HOLDS,
    LABEL_SERVICE,
    LABEL_SPEC,
)
from deploy.services.unit import holds_of

STATES = {
    "active": "running",
    "reloading": "running",
    "activating": "running",
    "auto-restart": "restarting",
}
"""States of systemd in the words that Docker has; what is not listed does not run."""

DIGEST = "_sha256"
"""End of the names of digests of a service's files."""


def live_container(attributes: dict[str, Any], now: float | None = None) -> LiveContainer:
    """A container from what ``docker container inspect`` says of it.

    Args:
        attributes: what it says.
        now: when it said so by the host's clock, in seconds since the epoch, if that is known.
    """
    state, limits = attributes["State"], attributes["HostConfig"]
    labels = attributes["Config"].get("Labels") or {}
    spec = parse_spec(labels.get(LABEL_SPEC))
    networks = attributes["NetworkSettings"]["Networks"] or {}
    return LiveContainer(
        name=attributes["Name"].removeprefix("/"),
        image_id=attributes["Image"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status"),
        started_at=parse_time(state["StartedAt"]),
        ended_seconds_ago=_ended_ago(state, now),
        restart=limits["RestartPolicy"]["Name"] or "no",
        memory_bytes=limits["Memory"],
        networks=tuple(sorted(networks)),
        deployment=labels.get(LABEL_DEPLOYMENT) or None,
        spec=spec,
        holds=holds_of(parse_spec(labels.get(LABEL_HOLDS)), spec),
        service=labels.get(LABEL_SERVICE) or "",
        addresses={name: each["IPAddress"] for name, each in networks.items()},
        health_said=_said(state.get("Health") or {}),
    )


def _ended_ago(state: dict[str, Any], now: float | None) -> float:
    """Seconds since it ended; without an end where it runs, or where that is not known."""
    if now is None or state["Status"] != "exited" or "FinishedAt" not in state:
        return inf
    return now - parse_time(state["FinishedAt"])


def _said(health: dict[str, Any]) -> str:
    """The last line of the last check, where that failed."""
    checks = health.get("Log") or []
    if health.get("Status") != "unhealthy" or not checks:
        return ""
    lines = str(checks[-1].get("Output") or "").split("\n")
    return next((line.strip()[:120] for line in reversed(lines) if line.strip()), "")


def values_by_name(lines: Iterable[str]) -> dict[str, str]:
    """What lines like ``NAME=VALUE`` say; others are passed over."""
    return dict(line.split("=", 1) for line in lines if "=" in line)


def live_service(name: str, said: Mapping[str, str]) -> LiveService:
    """A service from what systemd and its unit file say of it.

    Args:
        name: name of the service.
        said: properties of systemd, marks of the unit file, and ``started``, ``now``, ``health``,
            ``unit_sha256``, ``environment_sha256``, ``said``.
    """
    spec = parse_spec(said.get("Spec"))
    state = STATES.get(said.get("SubState", ""), STATES.get(said.get("ActiveState", ""), "exited"))
    started = float(said.get("started") or 0)
    return LiveService(
        name=name,
        state=state,
        health=_health(said, started),
        started_at=started,
        deployment=said.get("Deployment") or None,
        spec=spec,
        holds=holds_of(parse_spec(said.get("Holds")), spec),
        service=said.get("Service", ""),
        starts_with_host=said.get("UnitFileState") == "enabled",
        files={
            f"{name.removesuffix(DIGEST)} file": digest
            for name, digest in said.items()
            if name.endswith(DIGEST)
        },
        last_line=said.get("said", ""),
    )


def _health(said: Mapping[str, str], started: float) -> str:
    """It is given its time to start, as Docker gives it to containers."""
    if said.get("health") == "yes":
        return "healthy"
    age = float(said.get("now") or 0) - started
    return "starting" if age < float(said.get("StartPeriod") or 0) else "unhealthy"


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
