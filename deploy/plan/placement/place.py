"""Where every replica goes: the layout of all models on all GPUs that serves the most people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from deploy.plan.placement.claim import Claim
from deploy.plan.placement.frontier import best_only, best_sums
from deploy.plan.placement.layout import Layout, empty
from deploy.plan.placement.layouts import Layouts
from deploy.plan.placement.pool import Gpus, Pool, pools
from deploy.plan.placement.sizer import Sizer
from deploy.sizing import Device

Known = dict[Device, Layouts]


@dataclass(frozen=True)
class Placement:
    """The chosen layout, and the best of the other kind."""

    chosen: Layout | None
    """``None`` where there is no layout with every model."""
    other: Layout | None
    """With shared cards where the chosen one has none, or the other way round."""


def place(claims: tuple[Claim, ...], hosts: Iterable[Gpus], sizer: Sizer) -> Placement:
    """Place all replicas.

    The objective is the number of people who can use every model at the same time. Every layout
    of fewer GPUs is one of more GPUs too, and every layout serves no more people with a longer
    context: so more GPUs never serve fewer, and more context never more (of one or two models,
    where every layout is looked at).
    """
    found = [empty(claims)]
    known: Known = {}
    for host in hosts:
        own = best_only(_on_host(claims, host, sizer, known))
        found = best_sums(found, own)
    complete = [layout for layout in found if _is_complete(layout, claims)]
    chosen = max(complete, key=lambda layout: layout.merit, default=None)
    others = [layout for layout in complete if chosen and layout.shared != chosen.shared]
    return Placement(chosen, max(others, key=lambda layout: layout.merit, default=None))


def _is_complete(layout: Layout, claims: tuple[Claim, ...]) -> bool:
    wanted = tuple(claim.model.replicas for claim in claims if claim.model.replicas)
    return all(layout.users) and layout.counted == wanted


def _on_host(claims: tuple[Claim, ...], gpus: Gpus, sizer: Sizer, known: Known) -> Iterator[Layout]:
    for ways in pools(gpus):
        found = [empty(claims)]
        for pool in ways:
            layouts = known.setdefault(pool.device, Layouts(claims, pool.device, sizer))
            own = [_moved(layout, pool) for layout in layouts.of(claims, pool.size)]
            found = best_sums(found, own)
        yield from found


def _moved(layout: Layout, pool: Pool) -> Layout:
    """On the GPUs of a pool, instead of the first ones of nowhere."""
    seats = (
        replace(seat, host=pool.host, gpus=tuple(sorted(pool.indices[gpu] for gpu in seat.gpus)))
        for seat in layout.seats
    )
    return replace(layout, seats=tuple(seats))
