"""AMD's drivers: which one each card wants, and where they come from."""

from __future__ import annotations

from typing import Literal

from deploy.catalog.entry import Entry


class AmdCard(Entry):
    """Cards of one instruction set, which names the row, e.g. ``gfx942``."""

    devices: dict[str, str]
    """PCI ids, each with the catalogue's id of the GPU; empty where the catalogue has none."""
    first_kernel: str = ""
    """The first kernel whose own amdgpu serves them; empty if AMD states its own driver alone."""
    first_ubuntu_kernel: str = ""
    """Of Ubuntu, where its kernels are patched so that older ones do."""
    vendor: bool = False
    """Whether AMD's own driver drives them."""
    shares_memory: bool = False
    """Whether their memory is the processor's."""
    source: str
    """Who says so."""

    def first_kernel_of(self, distribution: str) -> str:
        """The first kernel of a distribution that serves; empty if none is known.

        Kernels of the RHEL family have parts of newer ones, so their version says nothing.

        Args:
            distribution: ``ID`` of /etc/os-release.
        """
        if distribution == "ubuntu":
            return self.first_ubuntu_kernel or self.first_kernel
        return self.first_kernel if distribution == "debian" else ""


class AmdPackages(Entry):
    """Where a release of a distribution has AMD's driver from."""

    manager: Literal["apt", "dnf"]
    """What installs packages."""
    version: str
    """Version of AMD's driver."""
    folder: str
    """Below that version in AMD's repository."""
    suite: str = ""
    """apt: of the repository."""
    releases: tuple[str, ...] = ()
    """dnf: minor releases that AMD has packages for."""
    headers: tuple[str, ...]
    """Headers of the running kernel and of later ones."""
    firmware: tuple[str, ...]
    """What the kernel's own amdgpu loads."""
    kernel_modules: tuple[str, ...] = ()
    """What has the kernel's own amdgpu, where the kernel's package does not."""
    kernel: str = ""
    """Ubuntu: version of the release's own kernel."""
    source: str
    """Where that is documented."""
