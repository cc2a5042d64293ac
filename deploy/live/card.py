"""A GPU at work, of whichever vendor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Vendor = Literal["nvidia", "amd", "apple"]


@dataclass(frozen=True)
class CardUser:
    """A process that uses a card."""

    pid: int
    name: str
    """Its program."""
    container: str
    """The container that it is in; empty if it is in none."""
    memory_mib: float | None


@dataclass(frozen=True)
class LiveCard:
    """A card at work; ``None`` where it does not say."""

    vendor: Vendor
    index: int
    """As nvidia-smi numbers cards; of AMD's in the order of their PCI addresses."""
    name: str
    driver_version: str
    """NVIDIA's; of AMD's own driver, or ``kernel 6.12.48`` of the kernel's; ``macOS 15.6``."""
    memory_used_mib: float | None
    memory_mib: float | None
    temperature_celsius: float | None
    power_watts: float | None
    power_limit_watts: float | None
    utilization_percent: float | None
    users: tuple[CardUser, ...] = ()


def to_number(text: str | None) -> float | None:
    """A figure; ``None`` for what a card does not say, such as ``[N/A]``."""
    try:
        return float(text or "")
    except ValueError:
        return None
