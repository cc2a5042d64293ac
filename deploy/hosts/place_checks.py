"""Whether files can be put on a host, its images run there, and Docker sees and reaches it all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import PurePosixPath

from deploy.hosts.address_ranges import free_range
from deploy.hosts.explain_docker import NO_RANGE
from deploy.hosts.finding import Finding
from deploy.hosts.state import Daemon, HostState
from deploy.images import ImageUse
from deploy.services import Unit
from deploy.spec import HostSpec

SNAP = PurePosixPath("/var/snap")
SEEN = {
    "a snap": (PurePosixPath("/home"),),
    "Docker Desktop": tuple(
        PurePosixPath(path)
        for path in ("/home", "/Users", "/Volumes", "/private", "/tmp")  # noqa: S108
    ),
}
"""Directories of the host that Docker sees, where it does not see all."""
LOCAL = ("unix://", "npipe://", "fd://")


def directory_findings(spec: HostSpec, found: HostState) -> Iterator[Finding]:
    """Whether the host's directory can be made, written to, and seen by Docker."""
    directory = found.file_systems.get("directory")
    if found.blocked_by:
        yield Finding(
            "directory",
            "problem",
            f"{found.blocked_by} is a file, and {spec.directory} is to be a directory",
            fix="remove the file, or declare another directory for the host",
        )
    elif directory and directory.is_read_only:
        yield Finding(
            "directory",
            "problem",
            f"{spec.directory} is on {directory.mount}, which is mounted read-only",
            fix="declare another directory for the host, or mount it to be written to",
        )
    elif directory and not directory.is_writable:
        yield Finding(
            "directory",
            "problem",
            f"this user may not write to {spec.directory}, or may not make it",
            "a directory that this user may make and write to",
            "declare sudo=True for the host, or a directory such as /home/NAME/atelier",
        )
    temporary = found.file_systems.get("temporary files")
    if temporary and not temporary.is_writable:
        yield Finding(
            "temporary files",
            "problem",
            f"this user may not write to the directory of temporary files ({temporary.mount})",
            fix="mount it to be written to, with mode 1777, or set TMPDIR on the host",
        )
    yield from _seen(spec, found.daemon)


def _seen(spec: HostSpec, daemon: Daemon) -> Iterator[Finding]:
    if daemon.endpoint and not daemon.endpoint.startswith(LOCAL):
        yield Finding(
            "Docker",
            "problem",
            f"Docker's client goes to {daemon.endpoint}: that is another machine",
            "Docker on the host itself, which its containers' files are put on",
            "declare that machine as the host, or unset DOCKER_HOST there and use the client's own "
            "context: docker context use default",
        )
    kind = _kind(daemon)
    seen = SEEN.get(kind, ())
    if seen and not any(spec.directory.is_relative_to(path) for path in seen):
        yield Finding(
            "directory",
            "problem",
            f"Docker here is {kind}, and does not see {spec.directory}",
            f"a directory below {' or '.join(map(str, seen))}",
            "declare directory='/home/NAME/atelier' for the host, or install Docker from the "
            "distribution's packages instead",
        )


def mapped_user_findings(units: Iterable[Unit], found: HostState) -> Iterator[Finding]:
    """Whether containers are who the host's files belong to."""
    if not found.daemon.maps_users:
        return
    hindered = [unit.name for unit in units if _needs_own_users(unit)]
    if hindered:
        yield Finding(
            "Docker",
            "problem",
            "Docker makes root of a container another user of the host (userns-remap), so these "
            f"have no access to their secret files, weights or network: {', '.join(hindered)}",
            "Docker without userns-remap",
            "remove userns-remap from /etc/docker/daemon.json and restart Docker; images and "
            "volumes of before are not there then",
        )


def rootless_findings(units: Iterable[Unit], found: HostState) -> Iterator[Finding]:
    """Whether containers that belong into the host's network get there.

    https://docs.docker.com/engine/security/rootless/troubleshoot/
    """
    inside = [
        unit.name
        for unit in units
        if unit.runs.kind == "container" and unit.container.is_on_host_network
    ]
    if found.daemon.is_rootless and inside:
        yield Finding(
            "Docker",
            "problem",
            "Docker here is rootless, with a network of its own, so other hosts would not reach "
            f"{', '.join(inside)}",
            "Docker that root runs, for one replica over several hosts",
            "install Docker for root and declare sudo=True for the host, or nnodes=1",
        )


def _needs_own_users(unit: Unit) -> bool:
    if unit.runs.kind != "container":
        return False
    files = unit.config.files.values() if unit.config else ()
    hidden = any(not file.mode & 0o004 for file in files)
    return hidden or bool(unit.weights) or unit.container.is_on_host_network


def _kind(daemon: Daemon) -> str:
    if daemon.root and PurePosixPath(daemon.root).is_relative_to(SNAP):
        return "a snap"
    return daemon.operating_system


def network_findings(spec: HostSpec, found: HostState) -> Iterator[Finding]:
    """Whether Docker can make the deployment's network; nothing where that is there."""
    daemon = found.daemon
    if found.engine_version is None or daemon.has_network:
        return
    pools = _declared_pools(spec) or daemon.pools
    if free_range(pools, daemon.subnets) is None:
        yield Finding(
            "network",
            "problem",
            f"Docker has no address range left: {len(daemon.subnets)} networks have them all",
            "one for the deployment's network",
            NO_RANGE,
        )
    elif free_range(pools, [*daemon.subnets, *daemon.routes]) is None:
        yield Finding(
            "network",
            "warning",
            "the host has routes to every address range that Docker has left, e.g. of a VPN",
            "one for the deployment's network",
            NO_RANGE,
        )


def forwarding_findings(units: Iterable[Unit], found: HostState) -> Iterator[Finding]:
    """Whether packets get from the network to containers, and back.

    Docker switches forwarding on when it starts; hardening guides (CIS) switch it off, which
    counts as soon as their settings are loaded again.
    """
    bridged = [unit for unit in units if _has_own_network(unit)]
    # these have a network of their own, which forwards
    is_elsewhere = found.daemon.is_rootless or _kind(found.daemon) == "Docker Desktop"
    if found.daemon.forwards or is_elsewhere or not bridged:
        return
    ports = ((unit.name, port) for unit in bridged for port in unit.container.ports)
    asked = list(dict.fromkeys(name for name, port in ports if not _is_own(port.host_ip)))
    whom = f", and nobody reaches {', '.join(asked)} from other machines" if asked else ""
    yield Finding(
        "network",
        "problem" if asked else "warning",
        f"the host forwards no packets (net.ipv4.ip_forward=0): containers reach nothing{whom}",
        "net.ipv4.ip_forward=1",
        "switch it on: sudo sysctl -w net.ipv4.ip_forward=1; and set it to 1 in the file below "
        "/etc/sysctl.d that switches it off",
    )


def _has_own_network(unit: Unit) -> bool:
    return unit.runs.kind == "container" and not unit.container.is_on_host_network


def _is_own(address: str) -> bool:
    """Whether the host alone reaches what listens there."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _declared_pools(spec: HostSpec) -> tuple[tuple[str, int], ...]:
    """What Docker will have, where Atelier looks after it."""
    pools = spec.docker_settings.get("default-address-pools")
    try:
        return tuple((pool["base"], int(pool["size"])) for pool in pools or ())
    except (TypeError, KeyError, ValueError):
        return ()


def architecture_findings(images: Iterable[ImageUse], found: HostState) -> Iterator[Finding]:
    """Whether the images run on the host's processor."""
    own = found.system.architecture
    for use in images:
        made_for = use.architectures
        if own and made_for and own not in made_for:
            others = ", ".join(sorted(made_for))
            yield Finding(
                "architecture",
                "problem",
                f"the host is {own}, and {use.image.reference} is for {others}",
                f"an image for {own}",
                _other_image(use, own),
            )


def _other_image(use: ImageUse, own: str) -> str:
    name = use.image.name
    if use.archive:
        return f"make the archive where Docker runs on {own}: atelier images INVENTORY --save DIR"
    if use.build:
        return (
            f"deploy from a machine that is {own}, or pull the image: "
            f"images={{{name!r}: Image(source='pull')}}"
        )
    return f"declare images={{{name!r}: Image(reference=...)}} with one, or use another host"
