"""Which of NVIDIA's drivers a host should have, from where, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from deploy.catalog import Catalog
from deploy.catalog.amd import AmdPackages
from deploy.catalog.nvidia import DriverSource, Flavour, NvidiaPackages, NvidiaSource
from deploy.errors import HostError, Problem
from deploy.hosts.drivers.branches import choose_branch, refuse
from deploy.hosts.drivers.needs import Needs
from deploy.hosts.drivers.state import FABRIC_MANAGERS, DriverState
from deploy.hosts.state import System
from deploy.spec.driver import DriverSpec

REPOSITORIES = "https://developer.download.nvidia.com/compute/cuda/repos"
"""NVIDIA's own: https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/."""
RHEL = {"rhel", "rocky", "almalinux", "centos", "ol"}
RENAMED = 590
"""First branch whose RPM is called ``nvidia-fabricmanager``, and not ``nvidia-fabric-manager``."""
ARCHITECTURES = {"amd64": "x86_64", "arm64": "sbsa"}
"""Folders of NVIDIA's repositories."""
SECURE_BOOT_WAYS = (
    "one of three: on Ubuntu leave source out: its modules are signed; or enrol a key by hand: "
    "sudo mokutil --import /var/lib/dkms/mok.pub, restart, and answer on the console; or switch "
    "Secure Boot off in the firmware"
)


@dataclass(frozen=True)
class Choice:
    """The driver of a host."""

    branch: str
    flavour: Flavour
    source: DriverSource
    version: str = ""
    """The exact version, where one is asked for."""
    packages: tuple[str, ...] = ()
    """What is installed."""
    pin: str = ""
    """What keeps the branch."""
    services: tuple[str, ...] = ()
    """Units that must run."""
    repository: str = ""
    """URL of NVIDIA's repository for this host; empty for the distribution's packages."""
    key: str = ""
    """URL of the key that signs it."""
    fingerprint: str = ""
    """Fingerprint of that key."""
    headers: tuple[str, ...] = ()
    """What the modules are built with: of the running kernel and of later ones."""
    held: tuple[str, ...] = ()
    """What only Atelier may change."""
    why: tuple[str, ...] = ()
    """The reasons, in words."""

    @property
    def text(self) -> str:
        """In words, e.g. ``580, open kernel modules, NVIDIA's repository``."""
        where = "NVIDIA's repository" if self.source == "vendor" else "the distribution's packages"
        return f"{self.version or self.branch}, {self.flavour} kernel modules, {where}"


class _Names:
    """Puts values into the names of packages."""

    def __init__(
        self, branch: str, flavour: Flavour, state: DriverState, packages: NvidiaPackages
    ) -> None:
        self._values = {
            "branch": branch,
            "flavour": "-open" if flavour == "open" else "",
            "kernel": state.kernel,
            "kernels": later_kernels(state.kernel, state.system, packages),
            "kmod": f"kmod-nvidia-{'open' if flavour == 'open' else 'latest'}-dkms",
            "fabricmanager": FABRIC_MANAGERS[int(branch) < RENAMED],
        }

    def of(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names for this host."""
        return tuple(name.format(**self._values) for name in names)


def release_of(system: System) -> str:
    """Key of the catalogue's packages, e.g. ``ubuntu-24.04`` or ``rhel-9``."""
    if system.id in RHEL:
        return f"rhel-{system.version.partition('.')[0]}"
    return f"{system.id}-{system.version}"


def packages_of(state: DriverState, catalog: Catalog) -> NvidiaPackages:
    """Where this host's release has the driver from.

    Raises:
        HostError: if it is none that is supported.
    """
    found = catalog.nvidia_packages.get(release_of(state.system))
    if found is None:
        raise HostError(
            Problem(
                "driver",
                f"NVIDIA's driver cannot be installed on {state.system.name or 'this system'}",
                "Debian 12 and 13, Ubuntu 22.04, 24.04 and 26.04, RHEL and its rebuilds 8, 9, 10",
                "install it yourself and declare driver='present'",
            )
        )
    return found


def choose(
    spec: DriverSpec, state: DriverState, needs: Needs, catalog: Catalog, today: str
) -> Choice:
    """The driver that a host should have.

    Args:
        spec: what is declared of it.
        state: what the host is like.
        needs: what cards and images want.
        catalog: branches and packages.
        today: a date, e.g. ``2026-11-28``.

    Raises:
        HostError: if none that may be taken can serve.
    """
    packages = packages_of(state, catalog)
    source = spec.source or packages.default
    offered = packages.of(source)
    if offered is None:
        raise refuse(
            f"source={source!r}: {state.system.name} has no NVIDIA driver among its packages",
            "source='vendor'",
        )
    branch = choose_branch(spec, source, packages, needs, catalog, today)
    flavour = _flavour(spec, branch, needs, catalog)
    if state.secure_boot and not offered.signed:
        raise refuse(
            f"Secure Boot is on, and the kernel refuses modules that are built on the host "
            f"(source={source!r})",
            "modules that are signed",
            SECURE_BOOT_WAYS,
        )
    names = _Names(branch, flavour, state, packages)
    own = names.of((*offered.names, *(offered.fabric if state.has_fabric else ())))
    if state.has_subnet_manager:
        own = (*own, *_subnet_manager(source, offered))
    return Choice(
        branch=branch,
        flavour=flavour,
        source=source,
        version=spec.version or "",
        packages=own,
        headers=names.of(offered.headers),
        held=(*own, *(name for name in names.of(offered.kernels) if name in state.packages)),
        pin=_pin(offered, branch, flavour, spec.version),
        services=("nvidia-persistenced", *(("nvidia-fabricmanager",) if state.has_fabric else ())),
        why=tuple(_why(spec, source, branch, flavour, needs, catalog)),
        **(_repository(spec, packages, state) if source == "vendor" else {}),
    )


def _subnet_manager(source: str, offered: NvidiaSource) -> tuple[str, ...]:
    """What NVSwitches of the fourth generation need besides."""
    if not offered.subnet_manager:
        raise refuse(
            f"source={source!r} has no nvlsm, without which NVSwitches of B200 and later stay idle",
            "NVIDIA's repository",
            "declare source='vendor'",
        )
    return offered.subnet_manager


def _flavour(spec: DriverSpec, branch: str, needs: Needs, catalog: Catalog) -> Flavour:
    possible = needs.flavours(catalog.nvidia_branches[branch])
    if spec.flavour and spec.flavour not in possible:
        cards = " and ".join(name.title() for name in needs.generations) or "these cards"
        raise refuse(
            f"flavour={spec.flavour!r}: branch {branch} has none of that kind for {cards}",
            " or ".join(map(repr, possible)),
            "leave flavour out",
        )
    return cast(Flavour, spec.flavour or possible[0])


def _repository(spec: DriverSpec, packages: NvidiaPackages, state: DriverState) -> dict[str, str]:
    architecture = ARCHITECTURES.get(state.system.architecture)
    if architecture is None:
        raise refuse(
            f"NVIDIA has no driver for {state.system.architecture}", "x86_64 and 64-bit Arm"
        )
    fingerprint = spec.key_fingerprint or packages.fingerprint
    if not fingerprint:
        raise refuse(
            f"the fingerprint of NVIDIA's key for {packages.repository} is not known to Atelier",
            "key_fingerprint, from a source that you trust",
            f"compare it with {REPOSITORIES}/{packages.repository}/x86_64/{packages.key} and "
            "declare Driver(key_fingerprint=..)",
        )
    base = f"{spec.repository or REPOSITORIES}/{packages.repository}/{architecture}"
    return {"repository": base, "key": f"{base}/{packages.key}", "fingerprint": fingerprint}


def _pin(offered: NvidiaSource, branch: str, flavour: Flavour, version: str | None) -> str:
    stream = "-open" if flavour == "open" else "-dkms"
    return offered.pin.format(version=version or branch, branch=branch, stream=stream)


def later_kernels(kernel: str, system: System, packages: NvidiaPackages | AmdPackages) -> str:
    """What the packages of later kernels of the same kind end with.

    ``amd64`` of Debian's ``6.1.0-56-amd64``; ``generic``, or ``generic-hwe-24.04`` of a kernel that
    is not the release's own, of Ubuntu's ``6.14.0-33-generic``.
    """
    kind = re.sub(r"^[\d.]+(?:\+[\w~.]+)?-\d*-?", "", kernel)
    own = packages.kernel
    if own and kind == "generic" and not kernel.startswith(f"{own}."):
        return f"generic-hwe-{system.version}"
    return kind


def _why(  # noqa: PLR0913, PLR0917 - the reasons are as many
    spec: DriverSpec,
    source: DriverSource,
    branch: str,
    flavour: Flavour,
    needs: Needs,
    catalog: Catalog,
) -> list[str]:
    row = catalog.nvidia_branches[branch]
    reasons = [f"branch {branch} ({row.kind}) has updates until {row.end_of_life}"]
    if spec.wanted_branch:
        reasons = [f"branch {branch} is declared; it has updates until {row.end_of_life}"]
    reasons += [f"{reason} needs {version} or newer" for version, reason in needs.minimums]
    cards = ", ".join(name.title() for name in needs.generations)
    if spec.flavour:
        reasons.append(f"{flavour} modules are declared")
    elif flavour == "open":
        reasons.append(f"open modules drive {cards or 'every card since Turing'}")
    else:
        reasons.append(f"open modules do not drive {cards}")
    if spec.source:
        reasons.append(f"source {source!r} is declared")
    elif source == "distribution":
        reasons.append("the distribution's modules are built and signed")
    else:
        reasons.append("the distribution's own packages are older or not there")
    return reasons
