"""Places that were searched, and what was found in each."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.live.privacy.needles import Hit, Search

MOST_BYTES = 256 * 1024**2
"""Of one log or database."""
MOST_FILE_BYTES = 64 * 1024**2
"""Larger files are named, not read."""


@dataclass(frozen=True)
class Place:
    """Somewhere that was searched."""

    kind: str
    """``log``, ``database``, ``store`` or ``files``."""
    name: str
    """Which, e.g. the name of a container."""
    host: str
    service: str
    """Whose it is, e.g. ``litellm``: it decides how that is switched off."""
    amount: str
    """How much was searched."""
    found: frozenset[Hit] = frozenset()
    """What must not be there."""
    kept_by_design: frozenset[Hit] = frozenset()
    """What is declared to be there."""
    problem: str = ""
    """Why it was not searched, or not all of it."""
    where: tuple[str, ...] = ()
    """Tables or files in which something was found."""

    @property
    def ok(self) -> bool:
        """Whether it was searched, and nothing was found that must not be there."""
        return not self.found and not self.problem


def of_search(  # noqa: PLR0913
    kind: str, name: str, host: str, service: str, search: Search, *, whole: bool
) -> Place:
    """What came of searching a stream of bytes."""
    return Place(
        kind=kind,
        name=name,
        host=host,
        service=service,
        amount=size(search.bytes_read),
        found=frozenset(search.found),
        problem="" if whole else f"only the first {size(MOST_BYTES)} were searched",
    )


def size(count: int) -> str:
    """Bytes, for people."""
    if count < 1024**2:
        return f"{-(-count // 1024)} KiB"
    return f"{count / 1024**2:.0f} MiB"
