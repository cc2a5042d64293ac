"""Whether a host can be deployed to, before anything on it is touched."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyinfra import host
from pyinfra.api import operation

from deploy.errors import HostError, Problem
from deploy.facts.host import Host, HostState
from deploy.operations.commands import Commands, refuse
from deploy.services import Component

GIB = 1024**3
DISK_NEEDED_BYTES = 2 * GIB
MINIMUM_ENGINE = (20, 10)


@operation()
def passed(deployment: str, components: tuple[Component, ...]) -> Commands:
    """The container engine answers, ports are free, memory and disk are enough."""
    found = host.get_fact(Host, deployment=deployment)
    problems = list(host_problems(found, components))
    if problems:
        yield from refuse(f"{host.name} cannot be deployed to\n{HostError(*problems)}")


def host_problems(found: HostState, components: tuple[Component, ...]) -> Iterator[Problem]:
    """What keeps these components from running on a host like this."""
    if found.engine_version is None:
        yield Problem(
            "container engine",
            found.engine_error or "docker is not installed",
            f"Docker {'.'.join(map(str, MINIMUM_ENGINE))} or newer that this user may use",
            "install and start Docker, or declare sudo=True for the host",
        )
        return
    if _version(found.engine_version) < MINIMUM_ENGINE:
        allowed = f"{'.'.join(map(str, MINIMUM_ENGINE))} or newer"
        yield Problem("container engine", f"Docker {found.engine_version}", allowed, "upgrade it")
    yield from _port_problems(found, components)
    needed = sum(component.container.memory_bytes for component in components)
    if needed > found.memory_bytes:
        yield Problem(
            "memory",
            f"the containers may use {needed / GIB:.1f} GiB of {found.memory_bytes / GIB:.1f} GiB",
            "memory limits that fit into the machine",
            "lower memory_limit of engine, router or web_ui",
        )
    if found.disk_free_bytes < DISK_NEEDED_BYTES:
        yield Problem(
            "disk",
            f"{found.disk_free_bytes / GIB:.1f} GiB free where images are kept",
            f"at least {DISK_NEEDED_BYTES / GIB:.0f} GiB",
            "free some, e.g. docker system prune",
        )


def _port_problems(found: HostState, components: tuple[Component, ...]) -> Iterator[Problem]:
    taken = found.listening_ports - found.own_ports
    for component in components:
        for port in component.container.ports:
            if port.host_port in taken:
                service = component.tier.value
                yield Problem(
                    f"{service}.port",
                    f"port {port.host_port} is in use by another program",
                    "a free port",
                    f"stop that program, or declare another port for {service}",
                )


def _version(text: str) -> tuple[int, ...]:
    """Major and minor of e.g. ``20.10.24+dfsg1``."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])
