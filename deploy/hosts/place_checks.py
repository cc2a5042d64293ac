"""Whether files can be put on a host, its images run there, and Docker sees it all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from deploy.hosts.finding import Finding
from deploy.hosts.room import Need
from deploy.hosts.state import DESKTOP, Daemon, HostState, Place
from deploy.images import ImageUse
from deploy.services import Unit
from deploy.spec import HostSpec

SNAP = PurePosixPath("/var/snap")
SNAP_KIND, MACHINE_KIND = "a snap", "in a virtual machine"
SEEN = {
    SNAP_KIND: (PurePosixPath("/home"),),
    MACHINE_KIND: (PurePosixPath("/home"), PurePosixPath("/Users")),
    DESKTOP: tuple(
        PurePosixPath(path)
        for path in ("/home", "/Users", "/Volumes", "/private", "/tmp")  # noqa: S108
    ),
}
"""Directories of the host that Docker sees, where it does not see all."""
LOCAL = ("unix://", "npipe://", "fd://")


def directory_findings(spec: HostSpec, found: HostState, cache: str = "") -> Iterator[Finding]:
    """Whether the host's directory can be made, written to, and seen by Docker.

    Args:
        spec: the host.
        found: what it is like.
        cache: where weights are kept, if that is somewhere else.
    """
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
        yield _not_writable("directory", str(spec.directory), found)
    temporary = found.file_systems.get("temporary files")
    if temporary and not temporary.is_writable:
        yield Finding(
            "temporary files",
            "problem",
            f"this user may not write to the directory of temporary files ({temporary.mount})",
            fix="mount it to be written to, with mode 1777, or set TMPDIR on the host",
        )
    yield from _seen(found, "directory", spec.directory)
    if cache:
        yield from _seen(found, "huggingface_cache", PurePosixPath(cache))


def _not_writable(setting: str, path: str, found: HostState) -> Finding:
    what = f"{path}, or may not make it"
    if found.system.is_root:
        return Finding(
            setting,
            "problem",
            f"root may not write to {what}",
            "a directory that root may make and write to",
            f"declare another {setting}, on a disk of the host. On NFS, root_squash keeps root from"
            " writing: see exports on the server; else see lsattr for the attribute i",
        )
    return Finding(
        setting,
        "problem",
        f"this user may not write to {what}",
        "a directory that this user may make and write to",
        "declare sudo=True for the host, or a directory such as /home/NAME/atelier",
    )


def kept_findings(found: HostState, needs: Iterable[Need], cache: str = "") -> Iterator[Finding]:
    """Whether Docker, and what fetches weights, may write to where they keep theirs.

    A disk with errors becomes read-only, and what runs there goes on for a while.

    Args:
        found: what the host is like.
        needs: what is to come.
        cache: where weights are kept, if that is not in the host's own directory.
    """
    for mount, places in _read_only(found).items():
        yield Finding(
            "disk",
            "problem",
            f"{mount}, where Docker keeps its {' and '.join(places)}, is mounted read-only",
            fix="see dmesg on the host: a disk with errors becomes read-only. Repair it, and mount "
            "it to be written to",
        )
    weights = found.file_systems.get("weights")
    if weights is None or not any(need.place == "weights" and need.size_bytes for need in needs):
        return
    if weights.is_read_only:
        yield Finding(
            "huggingface_cache",
            "problem",
            f"weights are to come to {cache}, on {weights.mount}, which is mounted read-only",
            fix="put them there where it can be written to, or declare another huggingface_cache",
        )
    elif not weights.is_writable:
        yield _not_writable("huggingface_cache", cache, found)


def _read_only(found: HostState) -> dict[str, list[Place]]:
    """Mounts that Docker keeps something on and cannot write to."""
    mounts: dict[str, list[Place]] = {}
    of_docker: tuple[Place, ...] = ("images", "volumes")
    for place in () if found.daemon.is_apart else of_docker:
        system = found.file_systems.get(place)
        if system and system.is_read_only:
            mounts.setdefault(system.mount, []).append(place)
    return mounts


def _seen(found: HostState, setting: str, path: PurePosixPath) -> Iterator[Finding]:
    """Whether Docker sees a directory of the host."""
    daemon = found.daemon
    if setting == "directory" and _is_another(daemon.endpoint, found):
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
    if seen and not any(path.is_relative_to(each) for each in seen):
        yield Finding(
            setting,
            "problem",
            f"Docker here is {kind}, and does not see {path}",
            f"a directory below {' or '.join(map(str, seen))}",
            f"declare {setting}='/home/NAME/atelier' for the host, or install Docker from the "
            "distribution's packages instead",
        )
    elif kind == SNAP_KIND and _is_hidden(path):
        yield Finding(
            setting,
            "problem",
            f"Docker here is {kind}, and does not see {path}: it sees nothing in a home directory"
            " whose name begins with a dot",
            "a directory below /home without such a name",
            f"declare {setting}='/home/NAME/atelier' for the host, or install Docker from the "
            "distribution's packages instead",
        )


def _is_another(endpoint: str, found: HostState) -> bool:
    """Whether an endpoint of Docker is on another machine than the host."""
    if not endpoint or endpoint.startswith(LOCAL):
        return False
    try:
        name = urlsplit(endpoint).hostname or ""
        return name != "localhost" and not _is_own(name, found)
    except ValueError:
        return True


def _is_own(name: str, found: HostState) -> bool:
    """Whether an address is one of the host's."""
    return ip_address(name).is_loopback or name in found.addresses


def _is_hidden(path: PurePosixPath) -> bool:
    """Whether a path begins in a home directory with a dot."""
    return path.is_relative_to("/home") and any(part.startswith(".") for part in path.parts[3:4])


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
        return SNAP_KIND
    if daemon.other_kernel and daemon.operating_system != DESKTOP:
        return MACHINE_KIND
    return daemon.operating_system


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
