"""What a host is like, as the facts read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from deploy.secrets.fingerprint import KnownSecrets

Place = Literal["images", "volumes", "directory", "weights", "temporary files"]
"""What is kept on a host: Docker's images, its volumes, files of Atelier, a cache of weights
that is elsewhere, temporary files."""


@dataclass(frozen=True)
class System:
    """The operating system of a host."""

    id: str = ""
    """``ID`` of /etc/os-release, e.g. ``debian``."""
    like: tuple[str, ...] = ()
    """``ID_LIKE`` of /etc/os-release."""
    name: str = ""
    """``PRETTY_NAME`` of /etc/os-release."""
    version: str = ""
    """``VERSION_ID`` of /etc/os-release."""
    codename: str = ""
    """Code name of the release that packages come from, e.g. ``bookworm``."""
    kernel: str = ""
    """Kernel and architecture, e.g. ``Linux x86_64``."""
    has_systemd: bool = False
    """Whether systemd runs."""
    is_root: bool = False
    """Whether commands run as root."""

    @property
    def architecture(self) -> str:
        """As images name it, e.g. ``amd64``; empty if it is not known."""
        return architecture_of(self.kernel.rpartition(" ")[2])

    def is_like(self, *names: str) -> bool:
        """Whether it is one of these distributions or made from one."""
        return self.id in names or any(name in self.like for name in names)


MACHINES = {
    **{"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "i586": "386", "i386": "386"},
    # a process of 32 bits sees a processor of 64 as armv8l
    **{"armv8l": "arm", "armv7l": "arm", "armv6l": "arm", "loongarch64": "loong64"},
}
"""What ``uname -m`` prints, and what images call it where that is another name."""


def architecture_of(machine: str) -> str:
    """The architecture of a machine as images name it."""
    return MACHINES.get(machine, machine)


@dataclass(frozen=True)
class FileSystem:
    """The file system of a place on a host."""

    mount: str
    """Where it is mounted."""
    device: str
    """Which one it is: the same one may be mounted at several places."""
    free_bytes: int
    """Free space."""
    free_inodes: int | None = None
    """How many more files fit; ``None`` where there is no such limit."""
    is_read_only: bool = False
    """Whether it is mounted read-only."""
    is_writable: bool = True
    """Whether this user may write at that place, or to the directory that it will be made in."""
    pool: str = ""
    """What it shares its free space with, where that is more than itself, after its type and ``=``:
    a pool of btrfs or ZFS, or a place on a file server, e.g. ``nfs4=nas:/home``."""


DESKTOP = "Docker Desktop"


@dataclass(frozen=True)
class Daemon:
    """Docker's daemon."""

    endpoint: str = ""
    """Where its client reaches it, where that is declared, e.g. ``tcp://10.0.0.1:2376``."""
    operating_system: str = ""
    """What it runs on, e.g. ``Docker Desktop``."""
    other_kernel: str = ""
    """The kernel that it runs on, where that is not the host's: it is in a machine of its own."""
    root: str = ""
    """Its directory."""
    has_containerd_images: bool = False
    """Whether containerd keeps its images, and not it itself."""
    cgroup_driver: str = ""
    """Who makes its containers' cgroups: ``cgroupfs``, itself, or ``systemd``."""
    maps_users: bool = False
    """Whether root of a container is another user of the host (``userns-remap``)."""
    is_rootless: bool = False
    """Whether it runs as a user, in a network of its own."""
    forwards: bool = True
    """Whether the host passes packets on between its containers and the network."""
    pools: tuple[tuple[str, int], ...] = ()
    """Ranges that it takes networks from, and the size of those; empty for its own defaults."""
    has_network: bool = False
    """Whether the deployment's network is there."""
    subnets: tuple[str, ...] = ()
    """Ranges of its networks."""
    routes: tuple[str, ...] = ()
    """Ranges that the host has routes for."""
    volumes: frozenset[str] = frozenset()
    """Names of the volumes there are, of those that were asked for."""

    @property
    def is_apart(self) -> bool:
        """Whether its images, volumes and networks are in a machine of its own."""
        return bool(self.other_kernel) or self.operating_system == DESKTOP


@dataclass(frozen=True)
class HostState:
    """What a host offers."""

    engine_version: str | None = None
    """Version of Docker, if it answers."""
    engine_error: str = ""
    """Why Docker does not answer."""
    memory_bytes: int = 0
    """Memory installed."""
    listening_ports: frozenset[int] = frozenset()
    """TCP ports that somebody listens on."""
    addresses: frozenset[str] = field(default_factory=frozenset)
    """Its own addresses; empty where they are not known, or others may be listened on."""
    own_ports: frozenset[int] = field(default_factory=frozenset)
    """TCP ports that units of this deployment have, or would if they ran."""
    system: System = field(default_factory=System)
    """Its operating system."""
    clock_seconds: float | None = None
    """Its clock when it was read, in seconds since the epoch."""
    file_systems: dict[Place, FileSystem] = field(default_factory=dict)
    """The file system of each place, as far as they could be looked at."""
    blocked_by: str = ""
    """A file that stands where the host's directory should be, or above it."""
    file_sizes: dict[str, int] = field(default_factory=dict)
    """Sizes of the files asked for, and of parts of them, by path."""
    images: frozenset[str] = frozenset()
    """References of the images that it has, as Docker shows them."""
    daemon: Daemon = field(default_factory=Daemon)
    """Its Docker daemon, where one answers."""
    known_secrets: KnownSecrets = field(default_factory=KnownSecrets)
    """What it knows of the secrets that it was deployed with."""


GpuVendor = Literal["nvidia", "amd", "intel", "apple", "other"]


@dataclass(frozen=True)
class PciGpu:
    """A GPU as the PCI bus has it, whether or not its driver works."""

    address: str
    vendor: GpuVendor
    device: str
    """PCI id of the device, e.g. ``2330``."""
    name: str = ""
    """Name in the PCI database, if the host has one."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as its working driver reports it."""

    vendor: GpuVendor
    name: str
    memory_mib: int | None = None
    """Its memory; ``None`` where it has none of its own, or does not say."""
    uuid: str = ""
    address: str = ""
    """PCI address, or empty."""
    mig: bool = False
    """NVIDIA: whether it is split into instances (MIG)."""
    ecc: bool | None = None
    """NVIDIA: whether ECC is on; ``None`` where it has none."""
    mig_instances: tuple[str, ...] = ()
    """NVIDIA: profiles of its instances, e.g. ``1g.10gb``."""
    ecc_pending: bool | None = None
    """NVIDIA: whether ECC is on after the next start."""
    persistence: bool | None = None
    """NVIDIA: whether the driver stays initialised while nothing uses the card."""
    compute_mode: str = ""
    """NVIDIA: who may use it, ``Default`` for everything at once."""
    power_watts: float | None = None
    """NVIDIA: the limit of its power."""
    default_power_watts: float | None = None
    """NVIDIA: that limit as it comes."""


@dataclass(frozen=True)
class GpuState:
    """The GPUs of a host and their drivers."""

    pci: tuple[PciGpu, ...] = ()
    """What the hardware has."""
    gpus: tuple[Gpu, ...] = ()
    """What working drivers report."""
    driver_version: str = ""
    """Version of the NVIDIA or AMD driver."""
    cuda_version: str = ""
    """Newest CUDA version that the NVIDIA driver carries."""
    driver_error: str = ""
    """Why a driver's tool reports nothing."""
    driver_status: int | None = None
    """Exit status of nvidia-smi, if there is one; 0 where it works."""


@dataclass(frozen=True)
class DockerState:
    """Docker on a host, installed, configured and running or not."""

    system: System = field(default_factory=System)
    is_installed: bool = False
    """Whether there is a dockerd."""
    is_podman: bool = False
    """Whether the ``docker`` command is Podman's."""
    answers: bool = False
    """Whether the daemon answers."""
    version: str = ""
    """Its version, if it does."""
    unit_is_enabled: bool = False
    """Whether it starts with the host."""
    installed_by_atelier: bool = False
    """Whether Atelier installed it, or began to."""
    is_swarm: bool = False
    """Whether it is a node of a swarm."""
    running_containers: int = 0
    daemon_json: str | None = None
    """The text of daemon.json; ``None`` if there is none."""
    loaded_json: str | None = None
    """What the daemon loaded, where that is another text: a change was interrupted."""


@dataclass(frozen=True)
class Surroundings:
    """What a host reaches."""

    resolved: dict[str, bool] = field(default_factory=dict)
    """Whether each name has an address there."""
    reached: dict[str, str] = field(default_factory=dict)
    """By URL: an HTTP status, or what went wrong."""
