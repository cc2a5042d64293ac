"""Layouts: which replicas lie on which GPUs, and how many users each model then serves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deploy.plan.placement.claim import Claim
from deploy.sizing import Sizing


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
    other_hosts: tuple[str, ...] = ()
    """Hosts that it lies on, too, with the same GPUs of each."""


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
