"""Directories of two hosts that are one: on a file server that both have mounted.

Each of the hosts would remove the other's configuration there, as nothing of its own uses that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from deploy.hosts.finding import Finding
from deploy.hosts.state import FileSystem
from deploy.spec import HostSpec

SERVERS = ("nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "glusterfs", "fuse.glusterfs")
"""Types of file systems that several hosts may have, each told by its server and a path there."""


def place_on_server(spec: HostSpec, system: FileSystem | None) -> str:
    """Where a host's directory is on a file server; empty if it is on the host itself."""
    kind, _, source = system.pool.partition("=") if system else ("", "", "")
    if system is None or kind not in SERVERS:
        return ""
    inside = spec.directory.is_relative_to(system.mount)
    path = spec.directory.relative_to(system.mount) if inside else spec.directory
    return f"{source.rstrip('/')}/{str(path).lstrip('/')}"


def shared_findings(
    spec: HostSpec, system: FileSystem | None, others: Mapping[str, str]
) -> Iterator[Finding]:
    """Whether another host has the same directory.

    Args:
        spec: the host.
        system: the file system of its directory.
        others: where the directories of others are on file servers, by their names.
    """
    place = place_on_server(spec, system)
    same = [name for name, other in others.items() if place and other == place]
    if same:
        yield Finding(
            "directory",
            "problem",
            f"{spec.directory} is the same directory as that of {', '.join(same)}: {place}",
            "a directory of each host's own: each removes what it has no use for",
            f"declare e.g. directory={str(_own(spec))!r} for this host, or one on a disk of it",
        )


def _own(spec: HostSpec) -> PurePosixPath:
    """The directory with the host's name after it."""
    name = spec.name.removeprefix("@").replace("/", "-")
    return spec.directory.with_name(f"{spec.directory.name}-{name}")
