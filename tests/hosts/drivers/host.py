"""Hosts that are made up, and what a setup makes of one: another route than the script's."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

from deploy.catalog import load_catalog, parse_gpus
from deploy.hosts.drivers.host_setup import HostSetup, Step
from deploy.hosts.drivers.needs import Needs, find_needs
from deploy.hosts.drivers.setup import driver_setup
from deploy.hosts.drivers.state import DriverState, Nvidia, Package
from deploy.hosts.state import PciGpu, System
from deploy.spec import DriverSpec, HostSpec

TODAY = "2026-11-28"
KERNELS = {
    "debian-12": "6.1.0-56-amd64",
    "debian-13": "6.12.48+deb13-amd64",
    "ubuntu-22.04": "5.15.0-160-generic",
    "ubuntu-24.04": "6.8.0-87-generic",
    "ubuntu-26.04": "7.0.0-10-generic",
    "rhel-8": "4.18.0-553.el8_10.x86_64",
    "rhel-9": "5.14.0-570.el9.x86_64",
    "rhel-10": "6.12.0-55.el10.x86_64",
}
CARDS = {
    "v100": "1db6", "t4": "1eb8", "a100": "20b2", "rtx-3090": "2204", "l40s": "26b9",
    "h100": "2330", "rtx-5090": "2b85", "b200": "2901",
}  # fmt: skip
"""PCI ids: https://pci-ids.ucw.cz/read/PC/10de"""


def make_host(release: str = "debian-12", *cards: str, **state: Any) -> DriverState:
    """A freshly installed host."""
    name, _, version = release.partition("-")
    system = System(
        id="rocky" if name == "rhel" else name,
        name=release,
        version=version if name != "rhel" else f"{version}.4",
        kernel="Linux x86_64",
        has_systemd=True,
        is_root=True,
    )
    gpus = tuple(
        PciGpu(f"0000:{number:02x}:00.0", "nvidia", CARDS[card], card)
        for number, card in enumerate(cards or ("h100",))
    )
    kernel = KERNELS[release]
    return replace(
        DriverState(system, gpus, kernel=kernel, kernels=frozenset({kernel}), secure_boot=False),
        **state,
    )


def declare(**settings: Any) -> HostSpec:
    """A host with a driver."""
    declared = {"gpu_runtime": settings.pop("gpu_runtime", "nvidia")}
    return HostSpec(name="h1", driver=DriverSpec(**settings), **declared)


def needs(state: DriverState, gpus: str = "", **images: str) -> Needs:
    catalog = load_catalog()
    declared = parse_gpus(gpus, catalog) if gpus else ()
    return find_needs(state.nvidia_cards, declared, images, catalog)


def plan(spec: HostSpec, state: DriverState, wanted: Needs | None = None) -> HostSetup:
    return driver_setup(spec, state, wanted or needs(state), load_catalog(), TODAY)


def words(setup: HostSetup) -> list[str]:
    return [f"{change.action} {change.resource}" for change in setup.changes]


def after(state: DriverState, setup: HostSetup) -> DriverState:
    """The host when every step was done."""
    for step in setup.steps:
        state = _do(state, setup, step)
    return state


def restarted(state: DriverState) -> DriverState:
    """The host after a restart: what is on disk is what is loaded."""
    disk = state.nvidia.disk_version
    nvidia = replace(
        state.nvidia,
        loaded_version=disk,
        loaded_flavour=state.nvidia.disk_flavour,
        smi_status=0 if disk else 9,
    )
    services = dict.fromkeys(state.services, "enabled active")
    started = replace(
        state,
        nvidia=nvidia,
        services=services,
        loaded=frozenset({"nvidia"} if disk else ()),
        boot_id=f"{state.boot_id}+",
    )
    # the toolkit's own service
    return _specified(started) if started.toolkit.version and disk else started


def _specified(state: DriverState) -> DriverState:
    """The host with a CDI specification of the driver that works."""
    toolkit = replace(
        state.toolkit,
        devices=("nvidia.com/gpu=0", "nvidia.com/gpu=all"),
        specification_version=state.nvidia.loaded_version,
    )
    return replace(state, toolkit=toolkit)


def _do(state: DriverState, setup: HostSetup, step: Step) -> DriverState:  # noqa: C901 - every step
    action, *rest = step.arguments
    match action:
        case "files":
            lines = [base64.b64decode(line).decode() for line in step.stdin.splitlines()]
            texts = dict(zip(rest, lines, strict=True))
            return replace(state, files=state.files | texts)
        case "install":
            manager, _pin, version, *names = rest
            # apt lets go of what it installs
            names = [plain(name, manager) for name in names]
            state = replace(state, holds=state.holds - set(names))
            return _install(state, setup, manager, version, names)
        case "hold":
            return replace(state, holds=state.holds | set(rest[1:]))
        case "build":
            nvidia = replace(state.nvidia, disk_version=state.nvidia.library_version)
            return replace(state, nvidia=nvidia)
        case "load":
            return restarted(replace(state, loaded=state.loaded | {"nvidia"}))
        case "units":
            how, *units = rest
            value = "enabled active" if how == "start" else "enabled inactive"
            return replace(state, services=state.services | dict.fromkeys(units, value))
        case "cdi":
            return _specified(state)
        case "docker":
            return replace(state, toolkit=replace(state.toolkit, is_newer_than_docker=False))
        case "key":
            return state
    raise AssertionError(action)


def plain(name: str, manager: str) -> str:
    """A package's name without a version; the mark of one that leaves stays."""
    if manager == "dnf" and not name.startswith("kernel-devel"):
        return re.sub(r"-\d[\d.*-]*$", "", name)
    return name.partition("=")[0]


def _install(
    state: DriverState, setup: HostSetup, manager: str, version: str, names: list[str]
) -> DriverState:
    if any("container-toolkit" in name for name in names):
        toolkit = replace(state.toolkit, version="1.20.0")
        found = Package("ii", "1.20.0-1" if manager == "apt" else "1.20.0")
        own = dict.fromkeys(names, found)
        return replace(state, toolkit=toolkit, packages=state.packages | own)
    assert setup.choice
    new = version if version != "-" else f"{setup.choice.branch}.178.04"
    leaving = {name[:-1] for name in names if name.endswith("-")}
    packages = {
        name: Package("ii", found.version) if found.is_broken else found
        for name, found in state.packages.items()
        if name not in leaving
    }
    for name in names:
        if not name.endswith("-"):
            packages[name] = Package("ii", new if "nvidia" in name else "1.0")
    nvidia: Nvidia = replace(
        state.nvidia,
        disk_version=new,
        disk_flavour=setup.choice.flavour,
        library_version=new,
        module_kernels=state.nvidia.module_kernels | {state.kernel},
        smi_status=9 if not state.nvidia.loaded_version else 18,
    )
    return replace(state, packages=packages, nvidia=nvidia)
