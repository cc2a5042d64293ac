"""Whether a host can run services of its own, and has or is given their programs."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.hosts.finding import Finding
from deploy.hosts.state import HostState, System
from deploy.hosts.subject import Subject

INSTALLING = {
    "haproxy": "on the Mac: brew install haproxy (it ends the link to the engines); or declare"
    " trusted_network=True of the engine, which needs no link"
}
"""How a program is installed, where there is one way."""


def service_findings(subject: Subject, found: HostState) -> Iterator[Finding]:
    """What keeps services without a container from running there."""
    if not subject.programs:
        return
    if not subject.spec.is_mac:
        yield _systemd(found.system)
    for program in subject.programs:
        if program.archive is None and str(program.path) not in found.file_sizes:
            yield Finding(
                "program",
                "problem",
                f"{program.path} is not there",
                f"{program.name}, installed on the host",
                INSTALLING.get(program.name, "install it")
                + ", declare another path, or an archive with it",
            )


def _systemd(system: System) -> Finding:
    if not system.has_systemd:
        return Finding(
            "services",
            "problem",
            "systemd does not run",
            "a host with systemd, for engines without a container",
            "declare engines='containers' for the host",
        )
    if not system.is_root:
        return Finding(
            "services",
            "problem",
            "this user is not root, and only root can change services of the host",
            "root, or a user with sudo",
            "declare sudo=True for the host",
        )
    return Finding("services", "ok", "systemd runs")
