"""Whether a host can be deployed to: each check looks at one thing, and says the fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from deploy.errors import every
from deploy.hosts.cdi import FIRST_DOCKER, knows_cdi, must_be_switched_on, wants_cdi
from deploy.hosts.certificate_checks import certificate_findings, link_finding
from deploy.hosts.daemon_settings import CGROUPFS, read_daemon_json
from deploy.hosts.docker_setup import is_managed, refusals_of_installing
from deploy.hosts.explain_docker import explain_docker
from deploy.hosts.finding import Finding
from deploy.hosts.login_checks import LEEWAY_SECONDS
from deploy.hosts.mac.checks import system_findings
from deploy.hosts.network_checks import forwarding_findings, network_findings
from deploy.hosts.place_checks import (
    architecture_findings,
    directory_findings,
    kept_findings,
    mapped_user_findings,
    rootless_findings,
)
from deploy.hosts.room import Need, room_findings, room_needs
from deploy.hosts.service_checks import service_findings
from deploy.hosts.state import DockerState, HostState
from deploy.hosts.subject import Subject
from deploy.services import Tier, Unit
from deploy.services.link_files import AUTHORITY
from deploy.spec import HostSpec
from deploy.units import GIB

MINIMUM_ENGINE = (20, 10)
CLOCK_SKEW_SECONDS = 30
LINKS_BEHIND_SECONDS, LINKS_AHEAD_SECONDS = 86_400, 30 * 86_400
"""Certificates of links are valid from a day before they are made, and have more days left than
that after each deployment."""
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
        now: this machine's clock when the host's was read, in seconds since the epoch.
        more: what is to come that a hub was asked about.
    """
    yield from system_findings(subject.spec, found.system)
    if not subject.spec.is_mac:
        yield _system(found)
    if subject.needs_docker:
        yield from _engine(subject, found, docker)
        yield from _cgroups(subject, found)
    yield from service_findings(subject, found)
    yield from _ports(subject, found)
    yield from _addresses(subject, found)
    yield _memory(subject.units, found)
    needs = [*room_needs(subject, found), *more]
    yield from room_findings(found, needs)
    yield from directory_findings(subject.spec, found, subject.weights_cache)
    yield from kept_findings(found, needs, subject.weights_cache)
    yield from network_findings(subject.spec, found)
    yield from forwarding_findings(subject.units, found)
    yield from mapped_user_findings(subject.units, found)
    yield from rootless_findings(subject.units, found)
    yield from architecture_findings(subject.images, found)
    yield from _clock(subject, found, now)
    if subject.certificate:
        yield from certificate_findings(subject.certificate, subject.own_certificates, now)
    for certificate, is_renewed in subject.link_certificates:
        yield link_finding(certificate, now, is_renewed=is_renewed)


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


def _engine(subject: Subject, found: HostState, docker: DockerState | None) -> Iterator[Finding]:
    if found.engine_version is None:
        yield from _missing_engine(subject, found, docker)
    elif _version(found.engine_version) < MINIMUM_ENGINE:
        yield Finding(
            "Docker",
            "problem",
            f"version {found.engine_version}",
            f"{'.'.join(map(str, MINIMUM_ENGINE))} or newer",
            "upgrade it; versions 3 to 5 are Podman's: replace podman-docker by Docker",
        )
    elif wants_cdi(subject.units) and not knows_cdi(found.engine_version):
        yield Finding(
            "Docker",
            "problem",
            f"version {found.engine_version}, which has no CDI, the way that containers get GPUs",
            f"{'.'.join(map(str, FIRST_DOCKER))} or newer, or gpu_runtime='nvidia'",
            "upgrade Docker, or declare gpu_runtime='nvidia' for the host",
        )
    elif wants_cdi(subject.units) and docker and _is_switched_off(subject.spec, docker):
        yield Finding(
            "Docker",
            "problem",
            f"version {found.engine_version} with CDI switched off, the way that containers get"
            " GPUs",
            "CDI switched on, or gpu_runtime='nvidia'",
            'write "features": {"cdi": true} into /etc/docker/daemon.json and restart Docker, or '
            "declare docker='distribution' for the host, and the deployment does it",
        )
    else:
        yield Finding("Docker", "ok", f"version {found.engine_version}")


def _is_switched_off(spec: HostSpec, docker: DockerState) -> bool:
    """Whether it has no CDI, and that is somebody else's to change."""
    settings = read_daemon_json(docker.daemon_json)
    return not is_managed(spec, docker) and must_be_switched_on(docker, settings)


def _cgroups(subject: Subject, found: HostState) -> Iterator[Finding]:
    """Whether a reload of systemd takes the GPUs from containers.

    https://github.com/NVIDIA/nvidia-container-toolkit/issues/48
    """
    by_hook = any(unit.container.gpus for unit in subject.units if unit.runs.kind == "container")
    if by_hook and found.daemon.cgroup_driver == "systemd":
        yield Finding(
            "GPU containers",
            "warning",
            "Docker's cgroup driver is systemd: every systemctl daemon-reload takes the GPUs from"
            " containers that got them through the toolkit's hook",
            "gpu_runtime='cdi', or the cgroup driver cgroupfs",
            "declare gpu_runtime='cdi' for the host, or "
            f"docker_settings={{'exec-opts': ['{CGROUPFS}']}}",
        )


def _missing_engine(
    subject: Subject, found: HostState, docker: DockerState | None
) -> Iterator[Finding]:
    spec = subject.spec
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
    refusals = refusals_of_installing(spec, docker, cdi=wants_cdi(subject.units))
    for problem in refusals:
        yield Finding(problem.path, "problem", problem.found, problem.allowed, problem.fix)
    if not refusals:
        found_here, action = "not installed", "install"
        if docker.is_installed:
            found_here, action = "not running", "start"
        yield Finding("Docker", "ok", f"{found_here}; the deployment will {action} it")


def _ports(subject: Subject, found: HostState) -> Iterator[Finding]:
    taken = found.listening_ports - found.own_ports
    wanted = [
        (setting.partition(".")[0], setting, port)
        for unit in subject.units
        for _, port in unit.runs.listens
        for setting in [_setting(unit, port, subject)]
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


def _addresses(subject: Subject, found: HostState) -> Iterator[Finding]:
    """Whether what services listen on are the host's own addresses."""
    wanted = {
        address: unit.name
        for unit in subject.units
        for address, _ in unit.runs.listens
        if not _is_everywhere(address)
    }
    for address, name in wanted.items():
        if found.addresses and address not in found.addresses:
            own = sorted(each for each in found.addresses if not ip_address(each).is_loopback)
            yield Finding(
                "address",
                "problem",
                f"{name} is to listen on {address}, which is none of the host's",
                f"an address of the host: {', '.join(own)}",
                "declare address=... of the host, or listen=..., with one that it has itself: an "
                "address that a router translates is for ssh_jump or ~/.ssh/config",
            )


def _is_everywhere(address: str) -> bool:
    """Whether every host has it, or it is a name."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return True
    return parsed.is_unspecified or parsed.is_loopback


def _setting(unit: Unit, port: int, subject: Subject) -> str:
    """Where a port is declared."""
    if unit.tier == Tier.LISTENER:
        return f"entry.{'https' if port == unit.runs.listens[0][1] else 'http'}_port"
    if unit.tier == Tier.ROUTER:
        return f"{subject.router_settings.get(port, 'router')}.port"
    return "links.port" if unit.tier == Tier.LINK else f"{unit.tier.value}.port"


def _memory(units: tuple[Unit, ...], found: HostState) -> Finding:
    needed = sum(unit.runs.memory_bytes for unit in units)
    nouns = every(f"{noun}s" for noun in dict.fromkeys(u.runs.noun for u in units))
    use = f"the {nouns} may use {needed / GIB:.1f} GiB of {found.memory_bytes / GIB:.1f} GiB"
    if needed <= found.memory_bytes:
        return Finding("memory", "ok", use)
    return Finding(
        "memory",
        "problem",
        use,
        "memory limits that fit into the machine",
        "lower memory_limit of engine, router or web_ui",
    )


def _clock(subject: Subject, found: HostState, now: float) -> Iterator[Finding]:
    if found.clock_seconds is None:
        return
    skew = found.clock_seconds - now
    if abs(skew) <= CLOCK_SKEW_SECONDS:
        yield Finding("clock", "ok", "agrees with this machine's")
        return
    differs = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    limit = _clock_limit(subject, skew)
    if limit:
        fix = "run a time service there, e.g. chrony, and see that this machine's clock is right"
        yield Finding("clock", "problem", differs, limit, fix)
        return
    yield Finding(
        "clock",
        "warning",
        differs,
        f"at most {CLOCK_SKEW_SECONDS} s",
        "certificates and logins fail with wrong clocks: run a time service, e.g. chrony",
    )


def _clock_limit(subject: Subject, skew: float) -> str:
    """By how much the clock may differ at most, where it differs by more; else empty."""
    if subject.web_ui and subject.web_ui.oidc and abs(skew) > LEEWAY_SECONDS:
        where = "on the web UI's host: else no login at the provider is valid"
        return f"at most {LEEWAY_SECONDS} s {where}"
    is_linked = any(unit.config and AUTHORITY in unit.config.files for unit in subject.units)
    if is_linked and not -LINKS_BEHIND_SECONDS < skew < LINKS_AHEAD_SECONDS:
        return "at most a day behind, 30 days ahead: else certificates of links are not valid there"
    return ""


def _version(text: str) -> tuple[int, ...]:
    """Major and minor of e.g. ``20.10.24+dfsg1``."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])
