"""NVIDIA's drivers: branches, the generations of cards that they drive, and their packages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deploy.catalog.entry import Entry

Flavour = Literal["open", "proprietary"]
DriverSource = Literal["distribution", "vendor"]


class NvidiaBranch(Entry):
    """A branch of the driver; its number is what its versions start with."""

    kind: Literal["long term", "production", "feature"]
    """How long it has updates."""
    end_of_life: str = Field(pattern=r"^20\d\d-\d\d$")
    """Last month with updates."""
    cuda: str
    """CUDA version that its libcuda carries, or a newer one."""
    flavours: tuple[Flavour, ...]
    """Kernel modules that it comes with."""
    source: str
    """Who says so."""

    def has_ended(self, today: str) -> bool:
        """Whether it has no updates any more.

        Args:
            today: a date, e.g. ``2026-11-28``.
        """
        return today[:7] > self.end_of_life


class NvidiaGeneration(Entry):
    """What cards of one generation have in common."""

    pci: tuple[str, ...]
    """First digits of the PCI ids of its devices."""
    compute_capability: str
    """The lowest of its cards."""
    flavours: tuple[Flavour, ...]
    """Kernel modules that drive it."""
    first_version: str = ""
    """The first version of the driver for any of it, where that matters today."""
    last_branch: str = ""
    """The last branch for it, where that has been."""
    source: str
    """Who says so."""


class NvidiaSource(Entry):
    """The driver's packages from one source."""

    branches: tuple[str, ...]
    """What it has."""
    names: tuple[str, ...]
    """The packages, without what drives screens."""
    headers: tuple[str, ...] = ()
    """Headers of the running kernel and of later ones, where modules are built."""
    fabric: tuple[str, ...] = ()
    """What machines with NVSwitch need besides."""
    subnet_manager: tuple[str, ...] = ()
    """What those of B200 and later need in addition; they have versions of their own."""
    kernels: tuple[str, ...] = ()
    """What brings newer kernels, where those must not come without modules for them."""
    pin: str = ""
    """What keeps the branch: a package or a module stream; empty where the packages are asked for
    by their version and locked."""
    signed: bool = False
    """Whether modules come built and signed."""
    source: str
    """Where the names are documented."""


class NvidiaPackages(Entry):
    """Where a release of a distribution has the driver from."""

    manager: Literal["apt", "dnf"]
    """What installs packages."""
    repository: str
    """Folder of NVIDIA's repositories."""
    key: str
    """File of the key in it."""
    fingerprint: str
    """Fingerprint of that key; empty where it is not known."""
    kernel: str = ""
    """Ubuntu: version of the release's own kernel."""
    default: DriverSource
    """Where it comes from unless said otherwise."""
    vendor: NvidiaSource
    """NVIDIA's repository."""
    distribution: NvidiaSource | None = None
    """The distribution's own packages, where it has some."""

    def of(self, source: DriverSource) -> NvidiaSource | None:
        """The packages from a source, if there are any."""
        return self.vendor if source == "vendor" else self.distribution
