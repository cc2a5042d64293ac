"""What a container of an engine's image must see of a host's cards: pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from deploy.errors import HostError, Problem
from deploy.hosts.drivers.state import DriverState
from deploy.hosts.state import Gpu, GpuState
from deploy.services import Tier, Unit
from deploy.services.gpu_access import DEVICE, card_of, cards_of

FIELDS = ("uuid", "name", "memory.total", "driver_version")
"""What nvidia-smi is asked for in the container."""
MIG_FIELDS = ("uuid", "name", "driver_version")
"""The same where a card is split: a container then does not see all of its memory."""


@dataclass(frozen=True)
class Proof:
    """A container of one image, which is given all the cards that engines of that image have."""

    image: str
    vendor: Literal["nvidia", "amd"]
    cards: tuple[int, ...]
    """NVIDIA: indices of the cards; of AMD's, containers are given all."""
    access: tuple[str, ...]
    """Arguments of ``docker run`` that give it the devices."""

    def key(self, gpus: GpuState, state: DriverState, docker: str) -> str:
        """Digest of everything that it depends on; another one is to be proven anew.

        Args:
            gpus: the host's cards.
            state: what makes them work.
            docker: version of Docker.
        """
        driver = state.nvidia.loaded_version if self.vendor == "nvidia" else gpus.driver_version
        cards = (f"{gpu.uuid or gpu.address} {gpu.name}" for gpu in _of(self.vendor, gpus))
        parts = (self.image, *self.access, docker, driver, state.toolkit.version, *cards)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def question(self, gpus: GpuState) -> str:
        """What nvidia-smi is asked in the container, with commas; empty of AMD's cards."""
        return ",".join(self._fields(gpus)) if self.vendor == "nvidia" else ""

    def expected(self, gpus: GpuState, state: DriverState) -> str:
        """What it answers, a line for each card, in order.

        Raises:
            HostError: if the host itself does not have these cards.
        """
        if self.vendor == "amd" and not state.amd.gfx:
            raise HostError(_no_kfd())
        if self.vendor == "amd":
            return "\n".join(sorted(state.amd.gfx))
        there = _of("nvidia", gpus)
        if missing := [index for index in self.cards if index >= len(there)]:
            raise HostError(_not_there(missing, there))
        fields = self._fields(gpus)
        rows = ([_value(there[card], name, gpus) for name in fields] for card in self.cards)
        return "\n".join(sorted(", ".join(row) for row in rows))

    def _fields(self, gpus: GpuState) -> tuple[str, ...]:
        return MIG_FIELDS if any(gpu.mig for gpu in gpus.gpus) else FIELDS


def proofs(units: Iterable[Unit]) -> Iterator[Proof]:
    """A proof for each image of the engines that have cards.

    Args:
        units: those of one host.
    """
    images: dict[str, list[Unit]] = {}
    for unit in units:
        is_engine = unit.tier in {Tier.ENGINE, Tier.NODE} and unit.runs.kind == "container"
        if is_engine and cards_of(unit.container):
            images.setdefault(unit.container.image, []).append(unit)
    for image, those in images.items():
        cards = sorted({card for unit in those for card in cards_of(unit.container)})
        container = those[0].container
        is_amd = cards == [-1]
        if container.gpus:
            gpus = dict.fromkeys(gpu for unit in those for gpu in unit.container.gpus)
            ordered = sorted(gpus, key=lambda gpu: (card_of(gpu), str(gpu)))
            container = container.model_copy(update={"gpus": tuple(ordered)})
        elif not is_amd:
            devices = dict.fromkeys(name for unit in those for name in unit.container.devices)
            container = container.model_copy(update={"devices": tuple(devices)})
        yield Proof(
            image,
            "amd" if is_amd else "nvidia",
            () if is_amd else tuple(cards),
            tuple(container.access_arguments()),
        )


def _of(vendor: str, gpus: GpuState) -> list[Gpu]:
    return [gpu for gpu in gpus.gpus if gpu.vendor == vendor]


def _value(gpu: Gpu, field: str, gpus: GpuState) -> str:
    match field:
        case "uuid":
            return gpu.uuid
        case "name":
            return gpu.name
        case "memory.total":
            return "[N/A]" if gpu.memory_mib is None else str(gpu.memory_mib)
    return gpus.driver_version


def _no_kfd() -> Problem:
    return Problem(
        "GPUs",
        "/sys/class/kfd names no card",
        "cards of AMD that amdgpu drives for computing",
        "see dmesg | grep -e amdgpu -e kfd, and atelier doctor",
    )


def _not_there(missing: list[int], there: list[Gpu]) -> Problem:
    numbers = ", ".join(map(str, missing))
    return Problem(
        "GPUs",
        f"nvidia-smi lists {len(there)} cards: {', '.join(gpu.name for gpu in there) or 'none'}",
        f"the cards that engines are planned on, {DEVICE}{numbers} among them",
        "see why the others are not there (lspci -nn | grep -i nvidia; dmesg), or declare what is",
    )
