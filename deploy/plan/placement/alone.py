"""A model that has GPUs for itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploy.plan.placement.claim import Claim
from deploy.plan.placement.layout import Seat
from deploy.plan.placement.sizer import Sizer
from deploy.sizing import Device, Sizing


def seats_alone(claim: Claim, device: Device, count: int, sizer: Sizer) -> Iterator[list[Seat]]:
    """Every sensible set of replicas of one model on so many GPUs of its own.

    Without a declared number of replicas it is the one that serves most; else one set for each
    number that these GPUs may contribute.
    """
    if claim.gpu_count not in {None, count}:
        return
    share, wanted = claim.share or claim.utilization, claim.model.replicas
    options = []
    for split in sizer.splits(claim, device, count):
        sizing = sizer.replica(claim, device, split, share)
        if sizing.fits:
            size = split[0] * split[1]
            most = min(count // size, wanted or count)
            options.append([seat(claim, size, number, share, sizing) for number in range(most)])
    if wanted is None:
        best = max(options, key=served, default=None)
        yield from [best] if best else []
        return
    for number in range(1, wanted + 1):
        found = [seats[:number] for seats in options if len(seats) >= number]
        yield from [max(found, key=served)] if found else []


def seat(  # noqa: PLR0913, PLR0917
    claim: Claim, size: int, number: int, share: float, sizing: Sizing, first: int = 0
) -> Seat:
    """One of several replicas that lie side by side.

    Args:
        claim: the model.
        size: GPUs of each replica.
        number: which replica.
        share: its share of each GPU's memory.
        sizing: what it gives.
        first: the first GPU of the first replica.
    """
    start = first + number * size
    one = sizing if sizing.replicas == 1 else replace(sizing, replicas=1)
    return Seat(claim, "", tuple(range(start, start + size)), share, one)


def served(seats: list[Seat]) -> tuple[int, float]:
    """What a set of replicas is chosen by: users at once, then the speed of each."""
    speeds = [seat.sizing.tokens_per_second_per_user for seat in seats]
    return sum(seat.sizing.concurrent_users for seat in seats), min(speeds, default=0.0)
