"""What runs on a host, as Docker or systemd report it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from deploy.changes.change import ABSENT
from deploy.services import Holds

NEXT = ".next"
LEFTOVERS = (NEXT, ".previous", ".probe")
"""Ends of names that an interrupted change leaves behind."""
ENDING = ".ending-"
"""In names of containers that take no new requests and end with their last answer, before their
id."""
REMOVED_SECONDS = 60.0
"""So long after it ended, one that takes no new requests is removed by what waits for its end."""


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
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Its addresses by network; empty where it does not run."""
    health_said: str = ""
    """The last line of its health check, where that fails."""
    ended_seconds_ago: float = inf
    """How long it has ended; infinite where it runs, or where that is not known."""

    @property
    def noun(self) -> str:
        """What it is called."""
        return "container"

    @property
    def is_ending(self) -> bool:
        """Whether it only finishes what it has begun, and another one has its place.

        What waits for its end takes a moment to remove it then.
        """
        is_removed = self.ended_seconds_ago < REMOVED_SECONDS
        return ENDING in self.name and (self.state == "running" or is_removed)

    @property
    def starts_with_host(self) -> bool:
        """Whether Docker starts it; its restart policy is a part of its description."""
        return True

    @property
    def facts(self) -> dict[str, str]:
        """What can be changed although the label stays as it is."""
        return {
            "live image id": self.image_id,
            "live memory_bytes": str(self.memory_bytes),
            "live restart": self.restart,
            "live networks": ", ".join(self.networks) or ABSENT,
        }


@dataclass(frozen=True)
class LiveService:
    """A service of the host as systemd reports it."""

    name: str
    state: str
    """In the words that Docker has for containers: ``running``, ``exited``, ``restarting``."""
    health: str | None
    started_at: float
    """Seconds since the epoch; 0 if it never started."""
    deployment: str | None
    """The deployment it belongs to; ``None`` for services that are not Atelier's."""
    spec: dict[str, Any] | None
    """What its unit file says it was made from."""
    holds: Holds = field(default_factory=Holds)
    """What its unit file says that it holds on its host."""
    service: str = ""
    """What its unit file says that it is, e.g. ``llama-cpp``."""
    starts_with_host: bool = False
    """Whether it starts with the host."""
    files: dict[str, str] = field(default_factory=dict)
    """sha256 of its unit file and its environment file."""
    last_line: str = ""
    """The last line of its log, of one that does not run as it should."""
    health_said: str = ""
    is_ending: bool = False

    @property
    def noun(self) -> str:
        """What it is called."""
        return "service"

    @property
    def facts(self) -> dict[str, str]:
        """What can be changed although its description stays as it is."""
        return {f"live {name}": digest for name, digest in self.files.items()}


Live = LiveContainer | LiveService


def base_name(name: str) -> str:
    """Name of the unit that something belongs to, also of what a change left."""
    name = name.partition(ENDING)[0]
    for end in LEFTOVERS:
        name = name.removesuffix(end)
    return name


def by_unit(everything: Iterable[Live]) -> dict[str, tuple[Live, ...]]:
    """What is live, by the unit that it belongs to."""
    units: dict[str, tuple[Live, ...]] = {}
    for live in everything:
        name = base_name(live.name)
        units[name] = (*units.get(name, ()), live)
    return units


def named(name: str, noun: str, there: Iterable[Live]) -> Live | None:
    """The one with this name that is called so, e.g. ``container``."""
    return next((live for live in there if (live.name, live.noun) == (name, noun)), None)


def held(everything: Iterable[Live]) -> Holds:
    """What all that belongs to one unit holds."""
    ports: frozenset[int] = frozenset()
    gpus: dict[int, float] = {}
    memory_bytes = 0
    for live in everything:
        ports |= live.holds.ports
        # what was only created never had any
        if not live.name.endswith(NEXT):
            memory_bytes = max(memory_bytes, live.holds.memory_bytes)
        for index, share in live.holds.gpus.items():
            gpus[index] = max(gpus.get(index, 0.0), share)
    return Holds(ports=ports, gpus=gpus, memory_bytes=memory_bytes)
