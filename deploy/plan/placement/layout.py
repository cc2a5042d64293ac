"""Layouts: which replicas lie on which GPUs, and how many users each model then serves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deploy.plan.placement.claim import Claim
from deploy.plan.sizing import Sizing


@dataclass(frozen=True, eq=False)
class Seat:
    """One replica on GPUs of a host."""

    claim: Claim
    host: str
    gpus: tuple[int, ...]
    """Indices on the host."""
    share: float
    """Share of each GPU's memory."""
    sizing: Sizing
    """Of this replica alone."""
    companions: tuple[str, ...] = ()
    """Models that share one of its GPUs."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Replicas of some models, on some GPUs."""

    seats: tuple[Seat, ...] = ()
    users: tuple[int, ...] = ()
    """Requests that each of the deployment's models answers at once."""
    counted: tuple[int, ...] = ()
    """Replicas of each model that declares how many it wants."""
    shared: bool = False
    """Whether models share a GPU."""

    @property
    def merit(self) -> tuple[object, ...]:
        """What is better: the most people who can use every model at once, then the rest."""
        speeds = [seat.sizing.tokens_per_second_per_user for seat in self.seats]
        slowest = round(min(speeds, default=0.0), 2)
        return (sorted(self.users), not self.shared, slowest, -len(self.seats))

    def __add__(self, other: Layout) -> Layout:
        """Both, on GPUs of their own."""
        return Layout(
            self.seats + other.seats,
            _sum(self.users, other.users),
            _sum(self.counted, other.counted),
            self.shared or other.shared,
        )


def empty(claims: Iterable[Claim]) -> Layout:
    """Nothing on no GPU."""
    claims = list(claims)
    counted = [claim for claim in claims if claim.model.replicas]
    return Layout(users=(0,) * len(claims), counted=(0,) * len(counted))


def layout_of(seats: Iterable[Seat], claims: tuple[Claim, ...], *, shared: bool = False) -> Layout:
    """The layout that seats make."""
    seats = tuple(seats)
    users, replicas = [0] * len(claims), [0] * len(claims)
    place = {claim.index: position for position, claim in enumerate(claims)}
    for seat in seats:
        position = place[seat.claim.index]
        users[position] += seat.sizing.concurrent_users
        replicas[position] += 1
    counted = [n for n, claim in zip(replicas, claims, strict=True) if claim.model.replicas]
    return Layout(seats, tuple(users), tuple(counted), shared)


def best_only(layouts: Iterable[Layout]) -> list[Layout]:
    """Layouts that no other one beats for every model; shared cards and counts are kept apart."""
    groups: dict[tuple[object, ...], list[Layout]] = {}
    for layout in layouts:
        groups.setdefault((layout.shared, layout.counted), []).append(layout)
    return [layout for group in groups.values() for layout in _undominated(group)]


def _undominated(layouts: list[Layout]) -> list[Layout]:
    by_users: dict[tuple[int, ...], Layout] = {}
    for layout in layouts:
        known = by_users.get(layout.users)
        if known is None or layout.merit > known.merit:
            by_users[layout.users] = layout
    kept: list[Layout] = []
    for users in sorted(by_users, reverse=True):
        if not any(_covers(other.users, users) for other in kept):
            kept.append(by_users[users])
    return kept


def _covers(users: tuple[int, ...], others: tuple[int, ...]) -> bool:
    return all(mine >= other for mine, other in zip(users, others, strict=True))


def _sum(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))
