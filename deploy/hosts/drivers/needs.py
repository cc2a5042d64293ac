"""What cards and images want of NVIDIA's driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from deploy.catalog import Catalog
from deploy.catalog.nvidia import NvidiaBranch, NvidiaGeneration
from deploy.hosts.state import PciGpu

CUDA_DRIVERS = {13: "580", 12: "525", 11: "450"}
"""First branch for each major version of CUDA: within one, older drivers run newer libraries.
https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"""


@dataclass(frozen=True)
class Needs:
    """What a driver must be able to do on one host."""

    generations: Mapping[str, NvidiaGeneration]
    """Of its cards, by name."""
    minimums: tuple[tuple[str, str], ...] = ()
    """First versions of the driver, and for what."""

    def too_old(self, version: str) -> list[str]:
        """What a version is too old for."""
        return [
            f"{reason} needs {minimum} or newer"
            for minimum, reason in self.minimums
            if numbers(version) < numbers(minimum)
        ]

    def against(self, number: str, branch: NvidiaBranch, today: str) -> Iterator[str]:
        """Why a branch cannot serve this host; nothing if it can.

        Args:
            number: of the branch.
            branch: what is known of it.
            today: a date, e.g. ``2026-11-28``.
        """
        if branch.has_ended(today):
            yield f"branch {number} has had no updates since {branch.end_of_life}"
        for version, reason in self.minimums:
            if int(number) < numbers(version)[0]:
                yield f"{reason} needs {version} or newer"
        for name, generation in self.generations.items():
            if generation.last_branch and int(number) > int(generation.last_branch):
                yield f"{generation.last_branch} is the last branch for cards of {name.title()}"
        if not self.flavours(branch):
            cards = " and ".join(name.title() for name in self.generations)
            yield f"branch {number} has no kernel modules for {cards} together"

    def flavours(self, branch: NvidiaBranch) -> list[str]:
        """Kernel modules of a branch that drive all cards; open ones first."""
        return [
            flavour
            for flavour in ("open", "proprietary")
            if flavour in branch.flavours
            and all(flavour in each.flavours for each in self.generations.values())
        ]


def find_needs(
    cards: Iterable[PciGpu], declared: Iterable[str], images: Mapping[str, str], catalog: Catalog
) -> Needs:
    """What the driver of a host must be able to do.

    Args:
        cards: NVIDIA's cards on its bus.
        declared: catalogue ids of the GPUs that are declared for it.
        images: CUDA version of the image of each engine on it, by name.
        catalog: what is known of cards.
    """
    found = {name: None for card in cards if (name := generation_of(card.device, catalog))}
    generations = {name: catalog.nvidia_generations[name] for name in found}
    minimums = [
        (generation.first_version, f"{name.title()}")
        for name, generation in generations.items()
        if generation.first_version
    ]
    gpus = {name: catalog.gpus[name] for name in declared if name in catalog.gpus}
    minimums += [(gpu.first_driver, gpu.name) for gpu in gpus.values() if gpu.first_driver]
    minimums += [
        (first, f"CUDA {cuda} of the image {image}")
        for image, cuda in sorted(images.items())
        if (first := CUDA_DRIVERS.get(numbers(cuda)[0], ""))
    ]
    return Needs(generations, tuple(minimums))


def generation_of(device: str, catalog: Catalog) -> str:
    """Name of the generation of a card, from its PCI id; empty if it is not known."""
    fitting = [
        (len(prefix), name)
        for name, generation in catalog.nvidia_generations.items()
        for prefix in generation.pci
        if device.startswith(prefix)
    ]
    return max(fitting, default=(0, ""))[1]


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers to compare, e.g. ``(580, 173, 2)``."""
    return tuple(int(part) for part in version.split(".") if part.isdigit()) or (0,)
