"""What a Mac is like, as the facts read it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class MacState:
    """The chip of a Mac, and the settings that Atelier looks after."""

    chip: str = ""
    """What the processor is called, e.g. ``Apple M3 Ultra``."""
    memory_bytes: int = 0
    """Memory, which is the GPU's, too."""
    wired_limit_mib: int | None = None
    """How much of it the GPU may have, in MiB; 0 for what macOS gives it, ``None`` where macOS does
    not say."""
    power: dict[str, str] = field(default_factory=dict)
    """Settings of ``pmset`` on mains power, of those that this Mac has."""
    daemons: dict[str, str] = field(default_factory=dict)
    """sha256 of the property lists of Atelier's own daemons, by label."""
    loaded: frozenset[str] = frozenset()
    """Labels of those that launchd has."""
    accounts: frozenset[str] = frozenset()
    """Accounts there are, of those that were asked for."""
    haproxy: str = ""
    """What HAProxy says of its version; empty where it does not run."""
    has_filevault: bool = False
    """Whether its disk is encrypted, so that somebody must log in when it starts."""
