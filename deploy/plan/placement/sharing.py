"""Models that share GPUs: one lies on all of them, the others next to it on the last few."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from deploy.plan.placement.alone import seat, served
from deploy.plan.placement.claim import LEAST_SHARE, Claim
from deploy.plan.placement.layout import Seat
from deploy.plan.placement.sizer import Sizer
from deploy.sizing import Device

COARSE = 5
"""With several guests only every fifth share is tried, on one GPU or all: there are too many."""


@dataclass(frozen=True)
class Table:
    """The GPUs that models share."""

    device: Device
    count: int
    sizer: Sizer


def seats_shared(
    claims: tuple[Claim, ...], device: Device, count: int, sizer: Sizer
) -> Iterator[list[Seat]]:
    """Every sensible set of replicas of several models on the same GPUs."""
    if any(claim.gpu_count is not None or not claim.engine.traits.shares_cards for claim in claims):
        return
    table = Table(device, count, sizer)
    for main in claims:
        guests = tuple(claim for claim in claims if claim is not main)
        widths = range(1, count + 1) if len(guests) == 1 else dict.fromkeys((1, count))
        for width in widths:
            yield from (_introduced(seats) for seats in _seats(main, guests, table, width))


def _seats(
    main: Claim, guests: tuple[Claim, ...], table: Table, width: int
) -> Iterator[list[Seat]]:
    """With the guests on the last ``width`` GPUs."""
    limit = min(claim.utilization for claim in (main, *guests))
    least = main.share or LEAST_SHARE
    step = COARSE if len(guests) > 1 else 1
    options = [
        list(_guest_options(guest, table, width, guest.shares(limit - least)[::step]))
        for guest in guests
    ]
    for chosen in product(*options):
        left = round(limit - sum(share for share, _ in chosen), 4)
        if left + 1e-9 < least:
            continue
        for own in _main_options(main, table, width, left):
            yield [*own, *(seat for _, seats in chosen for seat in seats)]


def _guest_options(
    claim: Claim, table: Table, width: int, shares: tuple[float, ...]
) -> Iterator[tuple[float, list[Seat]]]:
    """Shares with what they give; larger ones only where they give more."""
    before = (0, 0.0)
    for share in shares:
        seats = _guests(claim, table, width, share)
        if seats and served(seats) > before:
            before = served(seats)
            yield share, seats


def _guests(claim: Claim, table: Table, width: int, share: float) -> list[Seat]:
    """The replicas of a guest that serve most."""
    options = []
    for split in table.sizer.splits(claim, table.device, width):
        sizing = table.sizer.replica(claim, table.device, split, share)
        if sizing.fits:
            size = split[0] * split[1]
            most = min(width // size, claim.model.replicas or width)
            first = table.count - width
            options.append([seat(claim, size, n, share, sizing, first) for n in range(most)])
    return max(options, key=served, default=[])


def _main_options(claim: Claim, table: Table, width: int, left: float) -> Iterator[list[Seat]]:
    """Replicas over all GPUs; those that touch the guests' leave room for them."""
    options = []
    for split in table.sizer.splits(claim, table.device, table.count):
        size = split[0] * split[1]
        seats = []
        for number in range(table.count // size):
            touched = (number + 1) * size > table.count - width
            share = claim.share or (left if touched else claim.utilization)
            sizing = table.sizer.replica(claim, table.device, split, share)
            if sizing.fits:
                seats.append(seat(claim, size, number, share, sizing))
        options.append(seats)
    wanted = claim.model.replicas
    if wanted is None:
        options = [max(options, key=served, default=[])]
    for seats in options:
        counts = range(1, min(len(seats), wanted) + 1) if wanted else [len(seats)]
        yield from (seats[:count] for count in counts if count)


def _introduced(seats: list[Seat]) -> list[Seat]:
    """Each seat knows which models it shares a GPU with."""
    return [replace(seat, companions=tuple(_companions(seat, seats))) for seat in seats]


def _companions(seat: Seat, seats: list[Seat]) -> Iterator[str]:
    names = {
        name
        for other in seats
        if other.claim is not seat.claim and set(other.gpus) & set(seat.gpus)
        for name in other.claim.names
    }
    yield from sorted(names)
