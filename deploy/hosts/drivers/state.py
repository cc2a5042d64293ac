"""What a host is like where its GPU drivers are concerned, as the facts read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from deploy.hosts.state import PciGpu, System

Flavour = Literal["open", "proprietary"]
"""NVIDIA's kernel modules come as two: open source, and as binaries."""


FABRIC_MANAGERS = ("nvidia-fabricmanager", "nvidia-fabric-manager")
"""What its package is called, with the branch behind it in some places."""
ON_BLACKWELL_BOARDS = ("2901", "3182")
"""PCI ids of B200 and B300, which are sold on boards of eight."""


@dataclass(frozen=True)
class Package:
    """A package as the host's package manager has it."""

    status: str
    """Three letters, as ``dpkg -l`` shows them, e.g. ``ii``, ``hi``, ``iF``; ``ii`` for rpm."""
    version: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether it is installed and configured."""
        return self.status[1:2] == "i" and self.status[2:3] in {"", " "}

    @property
    def is_broken(self) -> bool:
        """Whether an installation of it began and did not end well: unpacked, half configured."""
        return self.status[1:2] in {"U", "F", "H", "W", "t"}


@dataclass(frozen=True)
class Nvidia:
    """NVIDIA's driver on a host."""

    loaded_version: str = ""
    """Version of the module that the running kernel has loaded; empty if none is."""
    loaded_flavour: Flavour | None = None
    disk_version: str = ""
    """Version of the module on disk for the running kernel; empty if there is none."""
    disk_flavour: Flavour | None = None
    module_kernels: frozenset[str] = frozenset()
    """Kernels that there is a module on disk for."""
    library_version: str = ""
    """Version of libnvidia-ml, which nvidia-smi and containers use."""
    smi_status: int | None = None
    """Exit status of nvidia-smi; ``None`` if there is none."""
    smi_said: str = ""
    """What it said when it failed."""
    xids: tuple[str, ...] = ()
    """Errors of cards in the kernel's log of this boot, where nvidia-smi fails."""


@dataclass(frozen=True)
class Toolkit:
    """NVIDIA's container toolkit on a host."""

    version: str = ""
    """Version that nvidia-ctk says; empty if it is not there."""
    devices: tuple[str, ...] = ()
    """Devices of the CDI specifications, e.g. ``nvidia.com/gpu=0``."""
    specification_version: str = ""
    """Version of the driver that the CDI specification was made for."""
    is_newer_than_docker: bool = False
    """Whether it was installed after Docker's daemon started."""


@dataclass(frozen=True)
class Amd:
    """AMD's driver on a host."""

    has_kfd: bool = False
    """Whether there is ``/dev/kfd``."""
    gfx: tuple[str, ...] = ()
    """Instruction sets of the GPUs that it has, e.g. ``gfx942``."""
    groups: frozenset[int] = frozenset()
    """Ids of the groups that own ``/dev/kfd`` and ``/dev/dri/renderD*``, or will own them."""
    missing_firmware: tuple[str, ...] = ()
    """Files that the kernel looked for and did not find."""
    loaded_version: str = ""
    """Version of the amdgpu that is loaded; the kernel's own has none."""
    disk_version: str = ""
    """Version of amdgpu-dkms on disk for the running kernel; empty if there is none."""
    loaded_source: str = ""
    """Checksum of the source of the amdgpu that is loaded: several releases have one version."""
    disk_source: str = ""
    """The same of amdgpu-dkms on disk."""
    has_own_module: bool = True
    """Whether the running kernel has an amdgpu of its own on disk."""
    module_kernels: frozenset[str] = frozenset()
    """Kernels that amdgpu-dkms was built for."""

    @property
    def is_replaced(self) -> bool:
        """Whether the amdgpu-dkms on disk is another one than the amdgpu that is loaded."""
        sources = {self.loaded_source, self.disk_source} - {""}
        return bool(self.disk_version) and (
            self.disk_version != self.loaded_version or len(sources) > 1
        )


@dataclass(frozen=True)
class GpuSettings:
    """What can be set of one GPU of NVIDIA, as its driver reports it."""

    mig: bool = False
    """Whether it is divided into instances, or can be."""
    mig_pending: bool = False
    """The same after the next restart."""
    instances: tuple[str, ...] = ()
    """Profiles of its instances, as the driver numbers them."""
    power_watts: float | None = None
    """Its power limit."""
    default_power_watts: float | None = None
    """The limit that it has unless told otherwise."""
    least_power_watts: float | None = None
    """The lowest limit that it allows."""
    most_power_watts: float | None = None
    """The highest."""
    most_clock_mhz: int | None = None
    """The highest clock of its SMs."""


@dataclass(frozen=True)
class DriverState:
    """Cards of a host, and everything that makes them work."""

    system: System = field(default_factory=System)
    cards: tuple[PciGpu, ...] = ()
    """GPUs on the PCI bus."""
    nvswitches: int = 0
    """NVSwitch bridges on the PCI bus."""
    kernel: str = ""
    """The running kernel, as ``uname -r`` says."""
    kernels: frozenset[str] = frozenset()
    """Kernels that are installed."""
    headers: frozenset[str] = frozenset()
    """Kernels that headers are installed for."""
    time: str = ""
    """Its time of the day, e.g. ``23:15``."""
    boot_id: str = ""
    """Changes with every start."""
    loaded: frozenset[str] = frozenset()
    """Which of nvidia, nvidia_uvm, nouveau and amdgpu are loaded."""
    nvidia: Nvidia = field(default_factory=Nvidia)
    toolkit: Toolkit = field(default_factory=Toolkit)
    amd: Amd = field(default_factory=Amd)
    secure_boot: bool | None = None
    """Whether the firmware starts signed code only; ``None`` if that is not known."""
    packages: dict[str, Package] = field(default_factory=dict)
    """Packages that have to do with GPUs."""
    holds: frozenset[str] = frozenset()
    """Packages that the package manager keeps as they are."""
    dkms_errors: tuple[str, ...] = ()
    """Lines of the log of the build that failed, where DKMS made no module for this kernel."""
    gpu_settings: tuple[GpuSettings, ...] = ()
    """Of each GPU of NVIDIA, as the driver numbers them; empty if it does not work."""
    services: dict[str, str] = field(default_factory=dict)
    """Whether units are enabled and active, by name, e.g. ``enabled active``."""
    files: dict[str, str] = field(default_factory=dict)
    """The texts of Atelier's own files there."""
    iommu: str = ""
    """How the first IOMMU group is, e.g. ``identity`` or ``DMA-FQ``; empty without IOMMU."""
    boot_free_bytes: int | None = None
    """Free space where kernels are."""
    usr_free_bytes: int | None = None
    """Free space where programs and modules are."""

    @property
    def has_subnet_manager(self) -> bool:
        """Whether its NVSwitches are of the fourth generation, which nvlsm manages.

        Those are no PCI devices of NVIDIA's, so it goes by the cards: several of them in one host
        are always on such a board.
        https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/
        """
        return sum(card.device in ON_BLACKWELL_BOARDS for card in self.nvidia_cards) > 1

    @property
    def has_fabric(self) -> bool:
        """Whether its cards are connected by NVSwitches, which a fabric manager sets up."""
        return self.nvswitches > 0 or self.has_subnet_manager

    @property
    def fabric_manager(self) -> str:
        """Version of the fabric manager's package; empty if there is none."""
        found = (n for n in sorted(self.packages) if n.startswith(FABRIC_MANAGERS))
        whole = [name for name in found if self.packages[name].is_whole]
        return self.packages[whole[0]].version if whole else ""

    @property
    def lacks_fabric_manager(self) -> bool:
        """Whether one is needed and absent, or not of exactly the driver's version."""
        if not self.has_fabric:
            return False
        missing = self.has_subnet_manager and "nvlsm" not in self.packages
        return missing or not self._is_of_the_driver(self.fabric_manager)

    def _is_of_the_driver(self, version: str) -> bool:
        driver = self.nvidia.disk_version or self.nvidia.loaded_version
        return bool(version) and driver in version

    @property
    def nvidia_cards(self) -> tuple[PciGpu, ...]:
        """Cards of NVIDIA."""
        return tuple(card for card in self.cards if card.vendor == "nvidia")

    @property
    def amd_cards(self) -> tuple[PciGpu, ...]:
        """Cards of AMD."""
        return tuple(card for card in self.cards if card.vendor == "amd")
