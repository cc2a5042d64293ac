"""Hosts with AMD's cards that are made up, and what a setup makes of one."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from deploy.catalog import load_catalog
from deploy.hosts.drivers.checks import host_driver_setup
from deploy.hosts.drivers.host_setup import HostSetup, Step
from deploy.hosts.drivers.state import DriverState, Package
from deploy.hosts.state import PciGpu, System
from deploy.spec import DriverSpec, HostSpec
from tests.hosts.drivers.host import KERNELS, TODAY

CARDS = {
    "mi300x": ("74a1", "gfx942"), "mi210": ("740f", "gfx90a"), "rx-7900-xtx": ("744c", "gfx1100"),
    "r9700": ("7551", "gfx1201"), "strix-halo": ("1586", "gfx1151"),
}  # fmt: skip
"""PCI ids: https://pci-ids.ucw.cz/read/PC/1002"""
SYSTEMS = {"ubuntu-24.04": "noble", "debian-12": "bookworm", "debian-13": "trixie"}


def make_amd_host(release: str = "debian-13", *cards: str, **state: Any) -> DriverState:
    """A freshly installed host."""
    name, _, version = release.partition("-")
    minors = {"8": "8.10", "9": "9.6", "10": "10.2"}
    system = System(
        id="rocky" if name == "rhel" else name,
        name=release,
        version=minors.get(version, version),
        codename=SYSTEMS.get(release, ""),
        kernel="Linux x86_64",
        has_systemd=True,
        is_root=True,
    )
    gpus = tuple(
        PciGpu(f"0000:{number:02x}:00.0", "amd", CARDS[card][0], card)
        for number, card in enumerate(cards or ("mi300x",))
    )
    kernel = KERNELS[release]
    found = DriverState(system, gpus, kernel=kernel, kernels=frozenset({kernel}), secure_boot=False)
    return replace(found, **state)


def declare(gpus: str = "", **settings: Any) -> HostSpec:
    return HostSpec(name="h1", driver=DriverSpec(**settings), **({"gpus": gpus} if gpus else {}))


def plan(spec: HostSpec, state: DriverState) -> HostSetup:
    return host_driver_setup(spec, state, {}, load_catalog(), TODAY)


def after(state: DriverState, setup: HostSetup) -> DriverState:
    """The host when every step was done."""
    for step in setup.steps:
        state = _do(state, setup, step)
    return state


def restarted(state: DriverState) -> DriverState:
    """The host after a restart: the newest amdgpu on disk is loaded, and finds its firmware."""
    has_firmware = bool(
        state.amd.disk_version
        or {"firmware-amd-graphics", "linux-firmware"} & state.packages.keys()
    )
    gfx = tuple(
        gfx for card in state.amd_cards for device, gfx in CARDS.values() if device == card.device
    )
    amd = replace(
        state.amd,
        loaded_version=state.amd.disk_version,
        loaded_source=state.amd.disk_source,
        has_kfd=has_firmware,
        gfx=gfx if has_firmware else (),
        missing_firmware=() if has_firmware else ("amdgpu/psp_13_0_0_sos.bin",),
    )
    return replace(state, amd=amd, loaded=state.loaded | {"amdgpu"})


def _do(state: DriverState, setup: HostSetup, step: Step) -> DriverState:
    action, *rest = step.arguments
    match action:
        case "files":
            lines = [base64.b64decode(line).decode() for line in step.stdin.splitlines()]
            return replace(state, files=state.files | dict(zip(rest, lines, strict=True)))
        case "install":
            return _install(state, setup, rest[3:])
        case "hold":
            return replace(state, holds=state.holds | set(rest[1:]))
        case "build":
            return replace(state, amd=replace(state.amd, disk_version="6.16.13"))
        case "load":
            return restarted(state)
        case "key":
            return state
    raise AssertionError(action)


def _install(state: DriverState, setup: HostSetup, names: list[str]) -> DriverState:
    assert setup.amd
    packages = {
        name: Package("ii", package.version) if package.is_broken else package
        for name, package in state.packages.items()
    }
    of_amd = {
        "amdgpu-dkms": f"1:6.16.13.{setup.amd.version}-1",
        "amdgpu-dkms-firmware": f"{setup.amd.version}.0.1-1",
    }
    packages |= {name: Package("ii", of_amd.get(name, "1")) for name in names}
    has_extra = any(name.startswith("linux-modules-extra-") for name in names)
    amd = replace(state.amd, has_own_module=state.amd.has_own_module or has_extra)
    if setup.amd.source == "vendor":
        # apt lets go of what it installs
        state = replace(state, holds=state.holds - set(names))
        kernels = amd.module_kernels | {state.kernel}
        # several releases have a module of one version
        source = setup.amd.version
        amd = replace(amd, disk_version="6.16.13", disk_source=source, module_kernels=kernels)
    return replace(state, packages=packages, amd=amd)
