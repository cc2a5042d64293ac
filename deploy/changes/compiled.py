"""Which replica that serves gives what it compiled to a new one on another host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from deploy.changes.live import LiveContainer
from deploy.services import Unit
from deploy.units import GIB

LARGEST_BYTES = 4 * GIB
"""More is not carried: a slow line would take longer than compiling."""


@dataclass(frozen=True)
class Machine:
    """What compiled code must suit."""

    architecture: str
    """As ``uname -m`` says it."""
    features: frozenset[str]
    """Of its CPUs, as /proc/cpuinfo lists them."""

    def runs_code_of(self, other: Machine) -> bool:
        """Whether it has everything that code compiled on another one may use."""
        return self.architecture == other.architecture and self.features >= other.features


@dataclass(frozen=True)
class Offer:
    """What a replica that serves has compiled."""

    host: str
    unit: Unit
    image: str
    """Image and command of the container that serves, which may not be those that are wanted."""
    command: tuple[str, ...]
    machine: Machine
    size_bytes: int

    @property
    def volume(self) -> str:
        """The volume that it is in, which is called so on every host."""
        return self.unit.compiled.volume if self.unit.compiled else ""


@dataclass(frozen=True)
class HostOffers:
    """A host's machine, and what its replicas have compiled."""

    host: str
    machine: Machine
    offers: tuple[Offer, ...]


def offering(units: Iterable[Unit], live: Mapping[str, LiveContainer]) -> tuple[Unit, ...]:
    """Units of a host that serve and have compiled something."""
    return tuple(
        unit
        for unit in units
        if unit.compiled
        and (found := live.get(unit.name))
        and (found.state, found.health) == ("running", "healthy")
        and found.spec
    )


def new_caches(units: Iterable[Unit], live: Mapping[str, LiveContainer]) -> Iterator[Unit]:
    """A unit for each cache of a host that none of its containers uses yet."""
    first: dict[str, Unit] = {}
    used = set()
    for unit in units:
        if unit.compiled:
            first.setdefault(unit.compiled.volume, unit)
            if unit.name in live:
                used.add(unit.compiled.volume)
    yield from (unit for volume, unit in first.items() if volume not in used)


def chosen(unit: Unit, machine: Machine, offers: Iterable[Offer]) -> Offer | None:
    """The offer of another host that a new replica can load; ``None`` if there is none.

    Engines look up what they load by everything that it depends on. What is compared here is what
    they do not look at, and what makes carrying it pointless.
    """
    return next(
        (
            offer
            for offer in offers
            if offer.host != unit.host
            and offer.unit.compiled == unit.compiled
            and (offer.image, offer.command) == (unit.container.image, unit.container.command)
            and machine.runs_code_of(offer.machine)
            and 0 < offer.size_bytes <= LARGEST_BYTES
        ),
        None,
    )
