"""What a host offers: Docker, free ports, room, memory, operating system."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection
from ipaddress import ip_address

from pyinfra.api import FactBase

from deploy.facts.common import look_at_common, parse_common
from deploy.facts.daemon import ROOT, find_daemon, look_at_daemon, parse_daemon
from deploy.facts.engine import ENGINE, IS_PODMAN, of_deployment, show
from deploy.facts.memory import look_at_memory, parse_memory
from deploy.facts.places import look_at_places, look_at_sizes
from deploy.facts.sections import split_sections
from deploy.facts.services import parse_holds
from deploy.facts.system import SYSTEM_SECTIONS, parse_system
from deploy.hosts.explain_docker import PODMAN
from deploy.hosts.state import Daemon, HostState

WHY_NOT = (
    "if ! command -v docker >/dev/null; then echo 'docker: not found'; "
    f"elif {IS_PODMAN}; then echo {shlex.quote(PODMAN)}; "
    "else docker version 2>&1 >/dev/null | tail -n 1; fi"
)
"""Shell: says why there is no Docker that answers."""
SOCKETS = (
    # 0A: it listens
    'awk \'$4 == "0A" { sub(/.*:/, "", $2); if (!seen[$2]++) printf "%s ", $2 } END { print "" }\' '
    "/proc/net/tcp /proc/net/tcp6 2>/dev/null"
)
"""Prints the TCP ports that somebody listens on, in hexadecimal, on one line."""
ADDRESSES = (
    "any=0; { read -r any </proc/sys/net/ipv4/ip_nonlocal_bind; } 2>/dev/null; "
    'if [ "$any" != 1 ]; then awk \'FILENAME ~ /inet6/ { print $1; next } '
    "/32 host LOCAL/ { print at } { at = $2 }' /proc/net/fib_trie /proc/net/if_inet6; "
    "fi 2>/dev/null"
)
"""Prints the host's own addresses; none where programs may listen on those of others, too."""


class Host(FactBase[HostState]):
    """Docker, memory, disk, ports, clock and operating system of a host."""

    def command(
        self,
        deployment: str,
        directory: str,
        files: Collection[str] = (),
        docker_root: str = ROOT,
        weights: str = "",
    ) -> str:
        """Print sections.

        Args:
            deployment: name of the deployment, and of its network.
            directory: where files are put on the host; it need not exist yet.
            files: files whose sizes are wanted.
            docker_root: where Docker will keep everything, if it does not answer yet.
            weights: a cache of weights outside the directory, if there is one.
        """
        engine = [
            *look_at_daemon(deployment),
            f"echo '@images'; {show('images')} | cut -d ' ' -f 1",
            f"echo '@own'; {of_deployment('ports', deployment)}",
            # in the host's network, containers publish nothing
            f"echo '@own_holds'; {of_deployment('holds', deployment)}",
        ]
        return "; ".join(
            [
                f"export LC_ALL=C\n{ENGINE}",
                "echo '@engine'; if [ $atelier_docker = no ]; then "
                f"echo '@engine_error'; {WHY_NOT}; "
                'elif [ -n "${atelier_info%%|*}" ]; then echo "${atelier_info%%|*}"; '
                "else docker version --format '{{.Server.Version}}'; fi",
                look_at_memory(),
                *find_daemon(docker_root),
                f"if [ $atelier_docker = yes ]; then {'; '.join(engine)}; fi",
                *look_at_places(
                    directory=shlex.quote(directory),
                    images='"$images"',
                    volumes='"$root/volumes"',
                    weights=shlex.quote(weights) if weights else "",
                ),
                look_at_sizes(files),
                f"echo '@sockets'; {SOCKETS}",
                *look_at_common(deployment, directory),
                *SYSTEM_SECTIONS,
                f"echo '@addresses'; {ADDRESSES}",
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
            engine_version=engine[0].strip('"') if engine else None,
            engine_error=" ".join(sections.get("engine_error", [])),
            memory_bytes=parse_memory(sections),
            daemon=parse_daemon(sections) if engine else Daemon(),
            addresses=_addresses(sections.get("addresses", [])),
            images=frozenset(sections.get("images", [])),
            listening_ports=_listening(sections.get("sockets", [])),
            own_ports=_published(sections.get("own", []))
            | parse_holds(sections.get("own_holds", [])),
            system=parse_system(sections),
            **parse_common(sections),
        )


def _listening(rows: list[str]) -> frozenset[int]:
    """Local ports of the listening sockets."""
    return frozenset(int(port, 16) for row in rows for port in row.split())


def _addresses(rows: list[str]) -> frozenset[str]:
    """IPv4 addresses as they are written, and IPv6 addresses of 32 digits."""
    return frozenset(
        str(ip_address(bytes.fromhex(row)) if len(row) == 32 else ip_address(row)) for row in rows
    )


def _published(rows: list[str]) -> frozenset[int]:
    """Host ports in rows of Docker's port bindings."""
    bindings = [binding for row in rows for binding in (json.loads(row) or {}).values()]
    return frozenset(int(port["HostPort"]) for binding in bindings for port in binding or [])
