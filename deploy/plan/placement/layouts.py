"""Every layout of some models on a number of equal GPUs that no other layout beats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations

from deploy.plan.placement.alone import seats_alone
from deploy.plan.placement.claim import Claim
from deploy.plan.placement.frontier import best_only, best_sums
from deploy.plan.placement.layout import Layout, empty, layout_of
from deploy.plan.placement.sharing import seats_shared
from deploy.plan.placement.sizer import Sizer
from deploy.sizing import Device


@dataclass
class Layouts:
    """Layouts on GPUs of one kind: models in clusters, each on GPUs of its own."""

    claims: tuple[Claim, ...]
    """All models of the deployment."""
    device: Device
    sizer: Sizer
    _found: dict[tuple[object, ...], list[Layout]] = field(default_factory=dict)
    _clusters: dict[tuple[object, ...], list[Layout]] = field(default_factory=dict)

    def of(self, some: tuple[Claim, ...], gpus: int) -> list[Layout]:
        """Layouts of some of the models, each there or not, on so many GPUs."""
        key = (tuple(claim.index for claim in some), gpus)
        if key not in self._found:
            self._found[key] = self._of(some, gpus)
        return self._found[key]

    def _of(self, some: tuple[Claim, ...], gpus: int) -> list[Layout]:
        if not some or not gpus:
            return [empty(self.claims)]
        first, rest = some[0], some[1:]
        found = list(self.of(rest, gpus))
        for guests in _subsets(rest):
            others = tuple(claim for claim in rest if claim not in guests)
            for count in range(1, gpus + 1):
                own = self._cluster((first, *guests), count)
                if own:
                    beside = self.of(others, gpus - count)
                    both = best_sums(own, beside, partial(_after, count=count))
                    found = best_only([*found, *both])
        return found

    def _cluster(self, some: tuple[Claim, ...], gpus: int) -> list[Layout]:
        """Layouts of models that share their GPUs, or of one that has them for itself."""
        key = (tuple(claim.index for claim in some), gpus)
        if key not in self._clusters:
            alone = len(some) == 1
            seats = (
                seats_alone(some[0], self.device, gpus, self.sizer)
                if alone
                else seats_shared(some, self.device, gpus, self.sizer)
            )
            layouts = (layout_of(own, self.claims, shared=not alone) for own in seats)
            self._clusters[key] = best_only(layouts)
        return self._clusters[key]


def _after(layout: Layout, count: int) -> Layout:
    """The same layout, so many GPUs further on."""
    seats = (replace(seat, gpus=tuple(gpu + count for gpu in seat.gpus)) for seat in layout.seats)
    return replace(layout, seats=tuple(seats))


def _subsets(claims: tuple[Claim, ...]) -> Iterator[tuple[Claim, ...]]:
    for size in range(len(claims) + 1):
        yield from combinations(claims, size)
