"""What a host offers: Docker, free ports, room, memory, operating system."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection
from pathlib import PurePosixPath

from pyinfra.api import FactBase

from deploy.facts.daemon import ROOT, look_at_daemon, parse_daemon
from deploy.facts.known_secrets import look_at_known_secrets, parse_known_secrets
from deploy.facts.places import (
    look_at_places,
    look_at_sizes,
    parse_blocked,
    parse_places,
    parse_sizes,
)
from deploy.facts.sections import first, split_sections
from deploy.facts.system import SYSTEM_SECTIONS, parse_system
from deploy.hosts.state import Daemon, HostState
from deploy.services.container import LABEL_DEPLOYMENT
from deploy.spec.host import deployment_directory

LISTEN_STATE = "0A"


class Host(FactBase[HostState]):
    """Docker, memory, disk, ports, clock and operating system of a host."""

    def command(  # noqa: PLR0913, PLR0917 - a look asks with names
        self,
        deployment: str,
        directory: str,
        files: Collection[str] = (),
        docker_root: str = ROOT,
        volumes: Collection[str] = (),
        weights: str = "",
    ) -> str:
        """Print sections.

        Args:
            deployment: name of the deployment, and of its network.
            directory: where files are put on the host; it need not exist yet.
            files: files whose sizes are wanted.
            docker_root: where Docker will keep everything, if it does not answer yet.
            volumes: names of volumes that may be there.
            weights: a cache of weights outside the directory, if there is one.
        """
        label = shlex.quote(f"label={LABEL_DEPLOYMENT}={deployment}")
        return "; ".join(
            [
                "export LC_ALL=C",
                "echo '@engine'; docker version --format '{{json .Server.Version}}' 2>/dev/null || "
                "{ echo '@engine_error'; docker version 2>&1 >/dev/null | tail -n 1; }",
                "echo '@memory'; awk '/^MemTotal:/ {printf \"%.0f\\n\", $2 * 1024}' /proc/meminfo",
                *look_at_daemon(deployment, docker_root, volumes),
                *look_at_places(directory, "$root", "$images", weights),
                look_at_sizes(files),
                "echo '@images'; docker image ls --format '{{.Repository}}:{{.Tag}}' 2>/dev/null",
                "echo '@sockets'; cat /proc/net/tcp /proc/net/tcp6 2>/dev/null",
                f"echo '@own'; ids=$(docker container ls -aq --filter {label} 2>/dev/null)",
                '[ -z "$ids" ] || docker container inspect --format '
                "'{{json .HostConfig.PortBindings}}' $ids",
                look_at_known_secrets(
                    deployment, str(deployment_directory(PurePosixPath(directory), deployment))
                ),
                *SYSTEM_SECTIONS,
                "echo '@selinux'; cat /sys/fs/selinux/enforce 2>/dev/null",
                "echo '@clock'; date +%s",
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
        clock = first(sections.get("clock"))
        return HostState(
            engine_version=json.loads(engine[0]) if engine else None,
            engine_error=" ".join(sections.get("engine_error", [])),
            memory_bytes=int(float(first(sections.get("memory"), "0"))),
            file_systems=parse_places(sections),
            blocked_by=parse_blocked(sections),
            file_sizes=parse_sizes(sections),
            daemon=parse_daemon(sections) if engine else Daemon(),
            selinux_enforcing=first(sections.get("selinux")) == "1",
            images=frozenset(sections.get("images", [])),
            listening_ports=_listening(sections.get("sockets", [])),
            own_ports=_published(sections.get("own", [])),
            system=parse_system(sections),
            clock_seconds=float(clock) if clock else None,
            known_secrets=parse_known_secrets(sections),
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
