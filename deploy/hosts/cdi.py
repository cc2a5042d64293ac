"""CDI: Docker gives containers GPUs by name, and a specification on the host says what those are.

https://github.com/cncf-tags/container-device-interface
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deploy.hosts.state import DockerState, System
from deploy.services import Unit

VENDOR = "nvidia.com/"
"""What the names of NVIDIA's devices begin with."""
FIRST_DOCKER = (25, 0)
"""Knows CDI where it is switched on: https://docs.docker.com/engine/release-notes/25.0/"""
DOCKER_BY_ITSELF = (28, 2)
"""Has it switched on: https://docs.docker.com/engine/release-notes/28/"""
OLDER_DOCKER = {("debian", "11"), ("debian", "12")}
"""Releases whose own Docker is 20.10: https://packages.debian.org/docker.io"""


def wants_cdi(units: Iterable[Unit]) -> bool:
    """Whether a container among the units is given NVIDIA GPUs by name."""
    return any(
        device.startswith(VENDOR)
        for unit in units
        if unit.runs.kind == "container"
        for device in unit.container.devices
    )


def knows_cdi(version: str) -> bool:
    """Whether a Docker of this version can have it."""
    return _numbers(version) >= FIRST_DOCKER


def has_older_docker(system: System) -> bool:
    """Whether the distribution's own Docker cannot."""
    return (system.id, system.version) in OLDER_DOCKER


def must_be_switched_on(found: DockerState, settings: dict[str, Any]) -> bool:
    """Whether daemon.json must say that Docker has it.

    Args:
        found: Docker on a host.
        settings: what its daemon.json says now.
    """
    said = (settings.get("features") or {}).get("cdi")
    is_default = found.answers and _numbers(found.version) >= DOCKER_BY_ITSELF
    return said is not True and (said is False or not is_default)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = version.split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdigit())
