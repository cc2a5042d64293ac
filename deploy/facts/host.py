"""What a host offers: container engine, free ports, disk and memory."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field

from pyinfra.api import FactBase

from deploy.facts.component import split_sections
from deploy.services.container import LABEL_DEPLOYMENT

LISTEN_STATE = "0A"


@dataclass(frozen=True)
class HostState:
    """What a host offers."""

    engine_version: str | None = None
    """Version of the container engine, if it answers."""
    engine_error: str = ""
    """Why the container engine does not answer."""
    memory_bytes: int = 0
    """Memory installed."""
    disk_free_bytes: int = 0
    """Free space where the container engine keeps images."""
    listening_ports: frozenset[int] = frozenset()
    """TCP ports that somebody listens on."""
    own_ports: frozenset[int] = field(default_factory=frozenset)
    """TCP ports that the containers of this deployment publish, or would if they ran."""


class Host(FactBase[HostState]):
    """Container engine, memory, disk and ports of a host."""

    def command(self, deployment: str) -> str:
        """Print sections."""
        label = shlex.quote(f"label={LABEL_DEPLOYMENT}={deployment}")
        return "; ".join(
            [
                "echo '@engine'; docker version --format '{{json .Server.Version}}' 2>/dev/null",
                "echo '@engine_error'; docker version 2>&1 >/dev/null | tail -n 1",
                "echo '@memory'; awk '/^MemTotal:/ {print $2 * 1024}' /proc/meminfo",
                "root=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)",
                "echo '@disk'; df -B1 --output=avail \"${root:-/}\" 2>/dev/null | tail -n 1",
                "echo '@sockets'; cat /proc/net/tcp /proc/net/tcp6 2>/dev/null",
                f"echo '@own'; ids=$(docker container ls -aq --filter {label} 2>/dev/null)",
                '[ -z "$ids" ] || docker container inspect --format '
                "'{{json .HostConfig.PortBindings}}' $ids",
                "true",
            ]
        )

    @staticmethod
    def default() -> HostState:
        """A host that did not answer."""
        return HostState()

    def process(self, output: list[str]) -> HostState:
        """Parse the sections."""
        sections = split_sections(output)
        engine = sections.get("engine", [])
        return HostState(
            engine_version=json.loads(engine[0]) if engine else None,
            engine_error=" ".join(sections.get("engine_error", [])),
            memory_bytes=int(float(next(iter(sections.get("memory", [])), "0"))),
            disk_free_bytes=int(next(iter(sections.get("disk", [])), "0")),
            listening_ports=_listening(sections.get("sockets", [])),
            own_ports=_published(sections.get("own", [])),
        )


def _listening(rows: list[str]) -> frozenset[int]:
    """Local ports of the listening sockets in rows of /proc/net/tcp."""
    sockets = [row.split() for row in rows if ":" in row]
    return frozenset(
        int(socket[1].rsplit(":", 1)[1], 16) for socket in sockets if socket[3] == LISTEN_STATE
    )


def _published(rows: list[str]) -> frozenset[int]:
    """Host ports in rows of Docker's port bindings."""
    bindings = [binding for row in rows for binding in (json.loads(row) or {}).values()]
    return frozenset(int(port["HostPort"]) for binding in bindings for port in binding or [])
