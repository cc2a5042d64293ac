"""Percentiles of what was measured; of how long something took, with those who waited in vain.

Who stopped waiting counts as waiting until then. Without them the figures would be of those alone
who were answered, and the better, the more were not. The estimate of Kaplan and Meier:
https://doi.org/10.1080/01621459.1958.10501452
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PERCENTILES = (50, 95, 99)
ROUNDING = 1e-9
"""What parts of a whole may be off by."""


@dataclass(frozen=True)
class Percentiles:
    """So many percent are no worse than this."""

    p50: float
    p95: float
    p99: float
    count: int
    waited: int = 0
    """Others, for whom it had not come when they stopped waiting; they count as well."""
    longer: tuple[str, ...] = ()
    """Which of the figures are in truth longer: it never came for so many."""


def percentiles(
    values: Iterable[float | None], *, high_is_good: bool = False
) -> Percentiles | None:
    """Percentiles of what is known; of figures where high is good, what so many reach."""
    known = sorted((v for v in values if v is not None), reverse=high_is_good)
    if not known:
        return None
    p50, p95, p99 = (known[max(math.ceil(len(known) * p / 100), 1) - 1] for p in PERCENTILES)
    return Percentiles(p50, p95, p99, len(known))


def percentiles_of_waits(took: Sequence[float], waited: Sequence[float]) -> Percentiles | None:
    """Percentiles of how long something took.

    Args:
        took: seconds of those for whom it came.
        waited: seconds of those who stopped waiting before.
    """
    if not took and not waited:
        return None
    parts, longest = shares(took, waited), max((*took, *waited))
    found = {f"p{p}": seconds_of(p / 100, parts) for p in PERCENTILES}
    known = {name: longest if each is None else each for name, each in found.items()}
    longer = tuple(name for name, each in found.items() if each is None)
    return Percentiles(**known, count=len(took), waited=len(waited), longer=longer)


def shares(took: Iterable[float], waited: Iterable[float]) -> list[tuple[float, float]]:
    """After how many seconds it had come for which part of all; both rise.

    Args:
        took: seconds of those for whom it came.
        waited: seconds of those who stopped waiting before.
    """
    # who stopped at the moment when it came for another one waited that long, too
    ends = sorted([*((each, False) for each in took), *((each, True) for each in waited)])
    found, still_wait = [], 1.0
    for number, (seconds, is_in_vain) in enumerate(ends):
        if not is_in_vain:
            left = len(ends) - number
            still_wait *= (left - 1) / left
            found.append((seconds, 1 - still_wait))
    return found


def seconds_of(share: float, found: list[tuple[float, float]]) -> float | None:
    """After how long it had come for a part of all; ``None`` if it never had for so many."""
    return next((seconds for seconds, part in found if part >= share - ROUNDING), None)
