"""Whether a host can run services of its own, and has or is given their programs."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.hosts.finding import Finding
from deploy.hosts.state import HostState
from deploy.hosts.subject import Subject


def service_findings(subject: Subject, found: HostState) -> Iterator[Finding]:
    """What keeps services without a container from running there."""
    if not subject.programs:
        return
    system = found.system
    if not system.has_systemd:
        yield Finding(
            "services",
            "problem",
            "systemd does not run",
            "a host with systemd, for engines without a container",
            "declare engines='containers' for the host",
        )
    elif not system.is_root:
        yield Finding(
            "services",
            "problem",
            "this user is not root, and services of the host are root's to change",
            "root, or a user with sudo",
            "declare sudo=True for the host",
        )
    else:
        yield Finding("services", "ok", "systemd runs")
    for program in subject.programs:
        if program.archive is None and str(program.path) not in found.file_sizes:
            yield Finding(
                "program",
                "problem",
                f"{program.path} is not there",
                f"{program.name}, installed on the host",
                "install it, declare another path, or an archive with it",
            )
