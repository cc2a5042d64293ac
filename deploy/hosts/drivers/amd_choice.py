"""Which of AMD's drivers a host should have, from where, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.catalog import Catalog
from deploy.catalog.amd import AmdCard, AmdPackages
from deploy.catalog.nvidia import DriverSource
from deploy.errors import HostError, Problem
from deploy.hosts.drivers.choice import later_kernels, release_of
from deploy.hosts.drivers.needs import numbers
from deploy.hosts.drivers.reboot import kernel_numbers
from deploy.hosts.drivers.state import DriverState
from deploy.spec.driver import DriverSpec

REPOSITORY = "https://repo.radeon.com/amdgpu"
"""AMD's own: https://instinct.docs.amd.com/projects/amdgpu-docs/en/latest/install/."""
KEY = "https://repo.radeon.com/rocm/rocm.gpg.key"
FINGERPRINT = "CA8BB4727A47B4D09B4EE8969386B48A1A693C5C"
"""Of that key, as several public projects pin it."""
PACKAGES = ("amdgpu-dkms", "amdgpu-dkms-firmware")
SECURE_BOOT_WAYS = (
    "one of two: enrol a key by hand: install amdgpu-dkms, sudo mokutil --import "
    "/var/lib/dkms/mok.pub (Ubuntu: /var/lib/shim-signed/mok/MOK.der), restart, and answer on the "
    "console; or switch Secure Boot off in the firmware"
)
OTHER_KERNEL = (
    "install the kernel for all machines: sudo apt-get install linux-image-amd64, restart the "
    "host, and remove the one that has no amdgpu (cloud)"
)
NEWER_KERNEL = {
    "debian": "install a kernel of the backports: sudo apt-get install -t {codename}-backports "
    "linux-image-amd64, and restart the host",
    "ubuntu": "install a newer kernel: sudo apt-get install linux-generic-hwe-{version}, and "
    "restart the host",
}


@dataclass(frozen=True)
class AmdChoice:
    """The driver of a host's AMD cards."""

    source: DriverSource
    """``distribution``: the amdgpu of the kernel; ``vendor``: AMD's amdgpu-dkms."""
    version: str = ""
    """Of AMD's driver; empty for the kernel's own."""
    manager: str = "apt"
    """What installs packages: ``apt`` or ``dnf``."""
    kernel: str = ""
    """The kernel that runs."""
    packages: tuple[str, ...] = ()
    """What is installed."""
    headers: tuple[str, ...] = ()
    """What the module is built with."""
    repository: str = ""
    """URL of AMD's repository for this host; empty for the kernel's own driver."""
    suite: str = ""
    """apt: of the repository."""
    key: str = ""
    """URL of the key that signs it."""
    fingerprint: str = ""
    """Fingerprint of that key."""
    why: tuple[str, ...] = ()
    """The reasons, in words."""

    @property
    def text(self) -> str:
        """In words, e.g. ``amdgpu 31.40.1, built on the host, AMD's repository``."""
        if self.source == "distribution":
            return f"amdgpu of the kernel {self.kernel}"
        return f"amdgpu {self.version}, built on the host, AMD's repository"

    @property
    def firmware(self) -> str:
        """What the version of amdgpu-dkms-firmware begins with, e.g. ``31.40.1.``.

        That of amdgpu-dkms itself is a kernel's: 6.16.13 of 30.30.
        """
        return "".join(f"{part}." for part in f"{self.version}.0".split(".")[:3])


def known_cards(state: DriverState, catalog: Catalog) -> dict[str, AmdCard]:
    """What is known of AMD's cards on the bus, by instruction set."""
    devices = {card.device for card in state.amd_cards}
    return {
        gfx: card for gfx, card in catalog.amd_cards.items() if devices.intersection(card.devices)
    }


def is_old(kernel: str, first: str) -> bool:
    """Whether a kernel is older than the first one that serves."""
    wanted = list(numbers(first))
    return kernel_numbers(kernel)[: len(wanted)] < wanted


def choose_amd(
    spec: DriverSpec, state: DriverState, cards: Mapping[str, AmdCard], catalog: Catalog
) -> AmdChoice:
    """The driver that a host's AMD cards should have.

    Args:
        spec: what is declared of it.
        state: what the host is like.
        cards: what is known of its cards, by instruction set.
        catalog: packages.

    Raises:
        HostError: if none that may be taken can serve.
    """
    packages = _packages_of(state, catalog)
    wanted = "vendor" if spec.version else spec.source
    too_old = list(_too_old(state, cards))
    foreign = [gfx for gfx, card in cards.items() if not card.vendor]
    if wanted == "distribution" and too_old:
        raise _refuse("; ".join(too_old), "a newer kernel, or source='vendor'", "leave source out")
    if wanted == "vendor" and foreign:
        found = f"AMD's own driver is not for {', '.join(foreign)}"
        raise _refuse(found, "the amdgpu of the kernel", "leave source and version out")
    if wanted != "vendor" and not too_old:
        return _of_the_kernel(state, cards, packages)
    if foreign:
        raise _refuse("; ".join(too_old), "a newer kernel", _newer_kernel(state))
    return _of_amd(spec, state, packages, too_old)


def _too_old(state: DriverState, cards: Mapping[str, AmdCard]) -> list[str]:
    """Why the amdgpu of the kernel does not serve; nothing if it does."""
    system = state.system
    reasons = []
    for gfx, card in cards.items():
        first = card.first_kernel_of(system.id)
        if not first:
            reasons.append(f"no amdgpu of a kernel of {system.name} is known to serve {gfx}")
        elif is_old(state.kernel, first):
            reasons.append(f"kernel {state.kernel} is older than the first for {gfx}, {first}")
    return reasons


def _of_the_kernel(
    state: DriverState, cards: Mapping[str, AmdCard], packages: AmdPackages
) -> AmdChoice:
    extra = () if state.amd.has_own_module else packages.kernel_modules
    if not state.amd.has_own_module and not extra:
        raise _refuse(
            f"kernel {state.kernel} has no module amdgpu", "a kernel with amdgpu", OTHER_KERNEL
        )
    names = _named((*extra, *packages.firmware), state, packages)
    firsts = (f"{card.first_kernel_of(state.system.id)} for {gfx}" for gfx, card in cards.items())
    why = f"the first kernel is {', '.join(firsts)}"
    return AmdChoice(
        "distribution",
        manager=packages.manager,
        kernel=state.kernel,
        packages=names,
        why=(why,),
    )


def _of_amd(
    spec: DriverSpec, state: DriverState, packages: AmdPackages, too_old: list[str]
) -> AmdChoice:
    system = state.system
    if state.secure_boot:
        raise _refuse(
            "Secure Boot is on, and the kernel refuses amdgpu-dkms, which is built on the host",
            "modules that are signed",
            SECURE_BOOT_WAYS,
        )
    if system.architecture != "amd64":
        raise _refuse(f"AMD has no driver for {system.architecture}", "x86_64")
    if packages.releases and system.version not in packages.releases:
        found = f"AMD has no packages for {system.name} ({system.version})"
        fix = "upgrade to one of these: sudo dnf update --releasever=.., and restart the host"
        raise _refuse(found, ", ".join(packages.releases), fix)
    version = spec.version or packages.version
    extra = () if state.amd.has_own_module else packages.kernel_modules
    reason = f"{version} is declared" if spec.version else f"{version} is what AMD's matrix names"
    base = spec.repository or REPOSITORY
    return AmdChoice(
        "vendor",
        version,
        packages.manager,
        state.kernel,
        packages=PACKAGES,
        headers=_named((*packages.headers, *extra), state, packages),
        repository=f"{base}/{version}/{packages.folder.format(release=system.version)}",
        suite=packages.suite,
        key=f"{spec.repository}/rocm.gpg.key" if spec.repository else KEY,
        fingerprint=spec.key_fingerprint or FINGERPRINT,
        why=(*(too_old or ["source 'vendor' is declared"]), reason),
    )


def _named(names: tuple[str, ...], state: DriverState, packages: AmdPackages) -> tuple[str, ...]:
    kernels = later_kernels(state.kernel, state.system, packages)
    return tuple(name.format(kernel=state.kernel, kernels=kernels) for name in names)


def _packages_of(state: DriverState, catalog: Catalog) -> AmdPackages:
    found = catalog.amd_packages.get(release_of(state.system))
    if found is None:
        raise HostError(
            Problem(
                "driver",
                f"AMD's driver cannot be installed on {state.system.name or 'this system'}",
                "Debian 12 and 13, Ubuntu 22.04, 24.04 and 26.04, RHEL and its rebuilds 8, 9, 10",
                "install it yourself and declare driver='present'",
            )
        )
    return found


def _newer_kernel(state: DriverState) -> str:
    system = state.system
    fix = NEWER_KERNEL.get(system.id, "take a release of the distribution with a newer kernel")
    return fix.format(codename=system.codename, version=system.version)


def _refuse(found: str, allowed: str, fix: str = "") -> HostError:
    fix = fix or "declare what is allowed, or driver='present' and install it yourself"
    return HostError(Problem("driver", found, allowed, fix))
