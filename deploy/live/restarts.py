"""Whether a container ended by itself, and Docker started it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from docker import DockerClient

from deploy.live.inspect import parse_time


@dataclass(frozen=True)
class Restarts:
    """How often a container was started again since it was made or started by hand, and why."""

    count: int = 0
    exit_status: int | None = None
    """Of the last end; ``None`` where there was none, or Docker no longer knows: it keeps its last
    256 events, health checks among them."""
    out_of_memory: bool = False
    """Whether it was ended for using more memory than its limit."""


NEVER = Restarts()


def read_restarts(attributes: dict[str, Any], client: DockerClient) -> Restarts:
    """How often and why a container was started again.

    Args:
        attributes: what ``docker container inspect`` says of it.
        client: the Docker that runs it.
    """
    state, count = attributes["State"], int(attributes.get("RestartCount", 0))
    status: int | None
    if state["Status"] != "running":
        status = int(state.get("ExitCode", 0))
    elif count:
        status = _last_exit_status(attributes, client)
    else:
        return NEVER
    return Restarts(count, status, bool(state.get("OOMKilled")))


def _last_exit_status(attributes: dict[str, Any], client: DockerClient) -> int | None:
    """Of a container that runs again: inspecting it says 0 whatever it was."""
    ended = int(parse_time(attributes["State"]["FinishedAt"]))
    events = client.events(
        since=ended - 1,
        until=ended + 2,
        filters={"container": attributes["Id"], "event": "die"},
        decode=True,
    )
    statuses = [int(event["Actor"]["Attributes"]["exitCode"]) for event in events]
    return statuses[-1] if statuses else None
