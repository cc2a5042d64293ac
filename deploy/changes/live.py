"""A container as Docker reports it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from deploy.services import Holds

LEFTOVERS = (".next", ".previous", ".probe")
"""Ends of names that an interrupted change leaves behind."""


@dataclass(frozen=True)
class LiveContainer:
    """A container as Docker reports it."""

    name: str
    image_id: str
    state: str
    health: str | None
    started_at: float
    """Seconds since the epoch; 0 if it never started."""
    restart: str
    memory_bytes: int
    networks: tuple[str, ...]
    deployment: str | None
    """The deployment it belongs to; ``None`` for containers that are not Atelier's."""
    spec: dict[str, Any] | None
    """What its label says it was made from."""
    holds: Holds = field(default_factory=Holds)
    """What its labels say that it holds on its host."""
    service: str = ""
    """What its label says that it is, e.g. ``litellm``."""


def base_name(name: str) -> str:
    """Name of the unit that a container belongs to, also of what an interrupted change left."""
    for end in LEFTOVERS:
        name = name.removesuffix(end)
    return name


def by_unit(containers: Iterable[LiveContainer]) -> dict[str, dict[str, LiveContainer]]:
    """Containers by the unit that they belong to, and by name."""
    units: dict[str, dict[str, LiveContainer]] = {}
    for container in containers:
        units.setdefault(base_name(container.name), {})[container.name] = container
    return units


def held(containers: Iterable[LiveContainer]) -> Holds:
    """What the containers of one unit hold, in all."""
    ports: frozenset[int] = frozenset()
    gpus: dict[int, float] = {}
    for container in containers:
        ports |= container.holds.ports
        for index, share in container.holds.gpus.items():
            gpus[index] = max(gpus.get(index, 0.0), share)
    return Holds(ports=ports, gpus=gpus)
