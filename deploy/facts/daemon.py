"""Docker's daemon on a host, as a part of other facts."""

from __future__ import annotations

import json
import shlex
from typing import Any

from deploy.facts.engine import show
from deploy.facts.sections import first
from deploy.hosts.state import Daemon

ROOT = "/var/lib/docker"
"""Where Docker keeps everything unless it is told otherwise."""
CONTAINERD = "/var/lib/containerd"
"""Where containerd keeps everything unless its configuration says otherwise."""
CONTAINERD_ROOT = (
    'sed -n "/^ *\\[/q; s/^root *= *[\\"\']\\(.*\\)[\\"\'].*/\\1/p" '
    "/etc/containerd/config.toml 2>/dev/null"
)
"""Prints what containerd's configuration says of that."""
OWN_SOCKET = "/run/containerd/containerd.sock"
"""Of the host's containerd, which Docker's daemon uses if it is there, and else starts its own."""

ENDPOINT = (
    'if [ -z "$DOCKER_HOST" ] && { [ -n "$DOCKER_CONTEXT" ] || '
    'grep -qs currentContext "${DOCKER_CONFIG:-$HOME/.docker}/config.json"; }; then '
    "docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null; "
    'else echo "$DOCKER_HOST"; fi'
)
"""Prints where Docker's client goes, if that is not its usual socket."""


def find_daemon(root: str) -> list[str]:
    """Shell commands after ``ENGINE`` that leave Docker's directory, and where images are kept.

    They are in ``$root`` and ``$images``.

    Args:
        root: Docker's directory where no daemon answers that could say.
    """
    return [
        "info=${atelier_info#*|}; root=${info%%|*}",
        f'[ -n "$root" ] || root={shlex.quote(root)}',
        "images=$root",
        'case "$info" in *io.containerd.snapshotter*) images=$root/containerd/daemon; '
        f'case "$info" in *name=rootless*) ;; *) if [ -S {OWN_SOCKET} ]; then '
        f"images=$({CONTAINERD_ROOT}); images=${{images:-{CONTAINERD}}}; fi ;; esac ;; esac",
    ]


def look_at_daemon(network: str) -> list[str]:
    """Shell commands after those that print the sections which parse_daemon reads.

    Args:
        network: name of the deployment's network.
    """
    name = shlex.quote(f"^network {network} ")
    subnets = shlex.quote("{{range .IPAM.Config}}{{.Subnet}} {{end}}")
    return [
        "echo '@info'; printf '%s\\n' \"${info#*|}\"",
        "echo '@kernel_of_host'; cat /proc/sys/kernel/osrelease 2>/dev/null",
        f'echo "@endpoint"; {ENDPOINT}',
        "echo '@forwarding'; cat /proc/sys/net/ipv4/ip_forward 2>/dev/null",
        f"echo '@volumes'; {show('volumes')} | cut -d ' ' -f 2",
        f"echo '@network'; if {show('networks')} | grep -q {name}; then echo yes; else "
        "echo '@subnets'; ids=$(docker network ls --quiet 2>/dev/null); "
        f'[ -z "$ids" ] || docker network inspect --format {subnets} $ids; '
        "echo '@routes'; PATH=$PATH:/usr/sbin:/sbin ip -4 route show 2>/dev/null; fi",
    ]


def parse_daemon(sections: dict[str, list[str]]) -> Daemon:
    """What the sections say of the daemon."""
    info = _info(first(sections.get("info")))
    routes = [row.split()[0] for row in sections.get("routes", [])]
    security = info.get("security") or ()
    own_kernel = first(sections.get("kernel_of_host"))
    return Daemon(
        endpoint=first(sections.get("endpoint")),
        operating_system=info.get("os") or "",
        other_kernel=_other(info.get("kernel") or "", own_kernel),
        root=info.get("root") or "",
        has_containerd_images="io.containerd.snapshotter" in json.dumps(info.get("driver")),
        cgroup_driver=info.get("cgroups") or "",
        maps_users="name=userns" in security,
        is_rootless="name=rootless" in security,
        forwards=first(sections.get("forwarding")) != "0",
        pools=tuple((pool["Base"], pool["Size"]) for pool in info.get("pools") or ()),
        has_network=bool(sections.get("network")),
        subnets=tuple(" ".join(sections.get("subnets", [])).split()),
        routes=tuple(route for route in routes if route[0].isdigit()),
        volumes=frozenset(sections.get("volumes", [])),
    )


def _other(kernel: str, own: str) -> str:
    """The kernel of the daemon, if it is known not to be the host's."""
    return kernel if own and kernel != own else ""


def _info(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError:
        return {}
