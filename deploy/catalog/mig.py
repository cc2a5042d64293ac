"""How NVIDIA's cards are divided into instances (MIG), and which layouts there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import Field

from deploy.catalog.entry import Entry


class MigProfile(Entry):
    """One size of an instance."""

    memory_gib: float
    """Memory that it has."""
    memory_slices: int = Field(ge=1)
    """How many of the card's memory slices it takes, next to each other."""
    compute_slices: int = Field(ge=1)
    """How many of the card's compute slices it has."""
    starts: tuple[int, ...]
    """Memory slices that it can begin at."""


class MigCard(Entry):
    """The profiles of one kind of card."""

    memory_slices: int
    """Into how many parts its memory is divided."""
    compute_slices: int
    """Into how many parts its SMs are divided."""
    memory_is_estimated: bool = False
    """Whether no one has published what its instances have."""
    profiles: Mapping[str, MigProfile]
    """By the name that nvidia-smi gives them, e.g. ``3g.40gb``."""
    source: str
    """Who says so."""

    def most(self, name: str) -> int:
        """How many instances of one profile there can be."""
        profile, count, free = self.profiles[name], 0, 0
        for start in sorted(profile.starts):
            if start >= free:
                count, free = count + 1, start + profile.memory_slices
        return count


@dataclass(frozen=True)
class MigInstance:
    """One instance, and where it lies."""

    profile: str
    """Name of its profile."""
    start: int
    """The first of its memory slices."""

    @property
    def placed(self) -> str:
        """As ``nvidia-smi mig -cgi`` takes it: profile, colon, first slice."""
        return f"{self.profile}:{self.start}"


def in_order(card: MigCard, names: Iterable[str]) -> list[str]:
    """Profiles as drivers number instances: the largest first."""
    profiles = card.profiles
    return sorted(
        names,
        key=lambda name: (-profiles[name].compute_slices, -profiles[name].memory_slices, name),
    )


def place_instances(card: MigCard, names: Iterable[str]) -> tuple[MigInstance, ...]:
    """Where the instances of a layout lie, in the order in which drivers number them.

    Args:
        card: what it is a layout of.
        names: the profiles, in any order; each must be one of the card's.

    Returns:
        Nothing if there is no room for all of them.
    """
    return _placed(card, tuple(in_order(card, names)), frozenset()) or ()


def _placed(
    card: MigCard, names: tuple[str, ...], taken: frozenset[int]
) -> tuple[MigInstance, ...] | None:
    if not names:
        return ()
    name, rest = names[0], names[1:]
    profile = card.profiles[name]
    for start in profile.starts:
        own = frozenset(range(start, start + profile.memory_slices))
        if own & taken:
            continue
        others = _placed(card, rest, taken | own)
        if others is not None:
            return (MigInstance(name, start), *others)
    return None
