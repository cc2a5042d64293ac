"""Whether a host can be deployed to: each check looks at one thing, and says the fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from deploy.hosts.certificate_checks import certificate_findings
from deploy.hosts.docker_setup import is_managed, refusals_of_installing
from deploy.hosts.explain_docker import explain_docker
from deploy.hosts.finding import Finding
from deploy.hosts.place_checks import (
    architecture_findings,
    directory_findings,
    network_findings,
)
from deploy.hosts.room import Need, room_findings, room_needs
from deploy.hosts.state import DockerState, HostState
from deploy.hosts.subject import Subject
from deploy.services import Port, Tier, Unit
from deploy.spec import HostSpec
from deploy.units import GIB

MINIMUM_ENGINE = (20, 10)
CLOCK_SKEW_SECONDS = 30
TRIED_SYSTEMS = ("debian", "ubuntu", "rhel", "fedora", "centos")


def host_findings(
    subject: Subject,
    found: HostState,
    docker: DockerState | None,
    now: float,
    more: Iterable[Need] = (),
) -> Iterator[Finding]:
    """Everything about a host but its GPUs and what it reaches.

    Args:
        subject: the host as declared.
        found: what it is like.
        docker: its Docker, looked at where no engine answers.
        now: this machine's clock, in seconds since the epoch.
        more: what is to come that a hub was asked about.
    """
    yield _system(found)
    yield from _engine(subject.spec, found, docker)
    yield from _ports(subject.units, found)
    yield _memory(subject.units, found)
    yield from room_findings(found, [*room_needs(subject, found), *more])
    yield from directory_findings(subject.spec, found)
    yield from network_findings(subject.spec, found)
    yield from architecture_findings(subject.images, found)
    yield from _clock(found, now)
    if subject.certificate:
        yield from certificate_findings(subject.certificate, subject.own_certificates, now)


def _system(found: HostState) -> Finding:
    system = found.system
    name = " ".join(part for part in (system.name, system.kernel) if part) or "not known"
    if system.is_like(*TRIED_SYSTEMS) or not system.id:
        return Finding("operating system", "ok", name)
    return Finding(
        "operating system",
        "warning",
        name,
        "Debian, Ubuntu, or the RHEL family",
        "this system was not tried; it may work if Docker runs there",
    )


def _engine(spec: HostSpec, found: HostState, docker: DockerState | None) -> Iterator[Finding]:
    if found.engine_version is None:
        yield from _missing_engine(spec, found, docker)
    elif _version(found.engine_version) < MINIMUM_ENGINE:
        yield Finding(
            "Docker",
            "problem",
            f"version {found.engine_version}",
            f"{'.'.join(map(str, MINIMUM_ENGINE))} or newer",
            "upgrade it; versions 3 to 5 are Podman's: replace podman-docker by Docker",
        )
    else:
        yield Finding("Docker", "ok", f"version {found.engine_version}")


def _missing_engine(
    spec: HostSpec, found: HostState, docker: DockerState | None
) -> Iterator[Finding]:
    if docker is None or not is_managed(spec, docker):
        yield Finding(
            "Docker",
            "problem",
            found.engine_error or "not installed",
            f"Docker {'.'.join(map(str, MINIMUM_ENGINE))} or newer that this user may use",
            explain_docker(found.engine_error)
            or "install and start Docker, or declare sudo=True for the host",
        )
        return
    refusals = refusals_of_installing(spec, docker)
    for problem in refusals:
        yield Finding(problem.path, "problem", problem.found, problem.allowed, problem.fix)
    if not refusals:
        found_here, action = "not installed", "install"
        if docker.is_installed:
            found_here, action = "not running", "start"
        yield Finding("Docker", "ok", f"{found_here}; the deployment will {action} it")


def _ports(units: tuple[Unit, ...], found: HostState) -> Iterator[Finding]:
    taken = found.listening_ports - found.own_ports
    wanted = [
        (unit.tier.value, _setting(unit, port), port.host_port)
        for unit in units
        for port in unit.container.ports
    ]
    for service, setting, port in wanted:
        if port in taken:
            yield Finding(
                setting,
                "problem",
                f"port {port} is in use by another program",
                "a free port",
                f"stop that program, or declare another port for {service}",
            )
    free = [str(port) for _, _, port in wanted if port not in taken]
    if free:
        yield Finding("ports", "ok", f"free or ours: {', '.join(free)}")


def _setting(unit: Unit, port: Port) -> str:
    """Where a port is declared."""
    if unit.tier == Tier.ENTRY:
        return f"entry.{'https' if port == unit.container.ports[0] else 'http'}_port"
    return f"{unit.tier.value}.port"


def _memory(units: tuple[Unit, ...], found: HostState) -> Finding:
    needed = sum(unit.container.memory_bytes for unit in units)
    use = f"the containers may use {needed / GIB:.1f} GiB of {found.memory_bytes / GIB:.1f} GiB"
    if needed <= found.memory_bytes:
        return Finding("memory", "ok", use)
    return Finding(
        "memory",
        "problem",
        use,
        "memory limits that fit into the machine",
        "lower memory_limit of engine, router or web_ui",
    )


def _clock(found: HostState, now: float) -> Iterator[Finding]:
    if found.clock_seconds is None:
        return
    skew = found.clock_seconds - now
    if abs(skew) <= CLOCK_SKEW_SECONDS:
        yield Finding("clock", "ok", "agrees with this machine's")
        return
    direction = "ahead of" if skew > 0 else "behind"
    yield Finding(
        "clock",
        "warning",
        f"{abs(skew):.0f} s {direction} this machine's",
        f"at most {CLOCK_SKEW_SECONDS} s",
        "certificates and logins fail with wrong clocks: run a time service, e.g. chrony",
    )


def _version(text: str) -> tuple[int, ...]:
    """Major and minor of e.g. ``20.10.24+dfsg1``."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])
