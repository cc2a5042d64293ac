"""How long something took, where some stopped waiting before it came: pure.

Who stopped waiting counts as waiting until then. Without them the figures would be of those alone
who were answered, and the better, the more were not. The estimate of Kaplan and Meier:
https://doi.org/10.1080/01621459.1958.10501452
"""

from __future__ import annotations

from collections.abc import Iterable

ROUNDING = 1e-9
"""What parts of a whole may be off by."""


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
