"""Whether something fits: yes only where the pessimistic side of the estimate fits too."""

from __future__ import annotations

from enum import StrEnum


class Fit(StrEnum):
    """The verdict; ``NO`` is false, the others are true."""

    YES = "yes"
    """Even with what start-ups with the same settings differ by."""
    PROBABLY = "probably"
    """By the estimate, but not on its pessimistic side."""
    NO = "no"
    """Not even by the estimate."""

    def __bool__(self) -> bool:
        return self is not Fit.NO
