"""What is found of a host's drivers before a deployment, which may be about to install them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from deploy.catalog import Catalog
from deploy.errors import HostError
from deploy.hosts.drivers.amd_choice import known_cards
from deploy.hosts.drivers.amd_findings import amd_findings, amd_groups
from deploy.hosts.drivers.amd_setup import amd_setup
from deploy.hosts.drivers.amd_setup import serves as amd_serves
from deploy.hosts.drivers.findings import driver_findings
from deploy.hosts.drivers.gpu_settings import declared_settings, gpu_setup
from deploy.hosts.drivers.host_setup import HostSetup
from deploy.hosts.drivers.needs import find_needs
from deploy.hosts.drivers.setup import driver_setup, needs_root, serves
from deploy.hosts.drivers.state import DriverState
from deploy.hosts.finding import Finding
from deploy.hosts.gpu_checks import gpu_findings
from deploy.hosts.state import GpuState
from deploy.plan.host_gpus import gpu_names
from deploy.spec import HostSpec


def host_driver_setup(
    spec: HostSpec, state: DriverState, cuda: Mapping[str, str], catalog: Catalog, today: str
) -> HostSetup:
    """What to do about the drivers of a host as declared.

    Args:
        spec: the host as declared.
        state: what it is like.
        cuda: CUDA version that each image on it is made for, by the image's name.
        catalog: what is known of cards and drivers.
        today: a date, e.g. ``2026-11-28``.

    Raises:
        HostError: if it cannot be done.
    """
    setup = HostSetup()
    vendors = vendors_of(spec, state, catalog)
    if "nvidia" in vendors:
        needs = find_needs(state.nvidia_cards, gpu_names(spec, catalog), cuda, catalog)
        setup = driver_setup(spec, state, needs, catalog, today)
    if "amd" in vendors and spec.driver:
        setup = setup.and_then(amd_setup(spec.driver, state, catalog))
        if setup.steps and not state.system.is_root:
            raise HostError(needs_root(setup))
    return setup


def vendors_of(spec: HostSpec, state: DriverState, catalog: Catalog) -> set[str]:
    """Whose drivers a host wants: of the GPUs that are declared, else of the cards on its bus.

    A processor's own graphics, which many hosts with NVIDIA cards have from AMD, want none.
    """
    declared = {catalog.gpus[name].vendor for name in gpu_names(spec, catalog)} & {"nvidia", "amd"}
    if declared:
        return {str(vendor) for vendor in declared}
    return {"amd"} if known_cards(state, catalog) and not state.nvidia_cards else {"nvidia"}


def driver_serves(spec: HostSpec, state: DriverState, catalog: Catalog) -> bool:
    """Whether the drivers that a host wants work."""
    works = {"nvidia": serves, "amd": amd_serves}
    return all(works[vendor](state) for vendor in vendors_of(spec, state, catalog))


def all_gpu_findings(  # noqa: PLR0913, PLR0917 - a check looks at all of them
    spec: HostSpec,
    gpus: GpuState,
    state: DriverState,
    cuda: Mapping[str, str],
    catalog: Catalog,
    today: str,
) -> Iterator[Finding]:
    """Cards, drivers and what makes them work, or what the deployment will do about them.

    Args:
        spec: the host as declared.
        gpus: its cards, as their drivers report them.
        state: what makes them work.
        cuda: CUDA version that each image on it is made for, by the image's name.
        catalog: what is known of cards and drivers.
        today: a date, e.g. ``2026-11-28``.
    """
    try:
        setup = host_driver_setup(spec, state, cuda, catalog, today)
        settings = gpu_setup(spec, state, catalog)
    except HostError as error:
        for problem in error.problems:
            yield Finding(problem.path, "problem", problem.found, problem.allowed, problem.fix)
        return
    if setup.steps or setup.reboot:
        yield from _coming(setup)
        yield from _on_the_bus(spec, state, catalog)
        if setup.amd:
            yield from amd_groups(spec, state)
        return
    yield from gpu_findings(spec, gpus, catalog, cuda, state)
    yield from driver_findings(spec, state, gpus)
    yield from _of_settings(spec, settings, catalog)
    if "amd" in vendors_of(spec, state, catalog) and (gpus.gpus or state.amd.gfx):
        yield from amd_findings(spec, state, catalog)


def _coming(setup: HostSetup) -> Iterator[Finding]:
    done = ", ".join(f"{change.action} {change.resource}" for change in setup.changes)
    choice = setup.choice or setup.amd
    what = f"driver {choice.text}" if choice else "container toolkit"
    yield Finding("GPU driver", "ok", f"{what}; the deployment will: {done or 'nothing more'}")
    if setup.reboot:
        yield Finding("GPU driver", "warning", f"the host must be restarted: {setup.reboot}")


def _of_settings(spec: HostSpec, setup: HostSetup, catalog: Catalog) -> Iterator[Finding]:
    """Layouts, limits and clocks that are declared."""
    if setup.reboot:
        yield Finding("GPU settings", "warning", f"the host must be restarted: {setup.reboot}")
    elif setup.changes:
        done = ", ".join(f"{change.action} {change.resource}" for change in setup.changes)
        yield Finding("GPU settings", "ok", f"the deployment will: {done}")
    elif declared := declared_settings(spec, catalog):
        said = ", ".join(f"GPU {each.gpu} {each.text}" for each in declared)
        yield Finding("GPU settings", "ok", f"{said}, as declared")


def _on_the_bus(spec: HostSpec, state: DriverState, catalog: Catalog) -> Iterator[Finding]:
    """Whether as many cards are there as are declared, which no driver names yet."""
    vendors: Counter[str] = Counter(catalog.gpus[name].vendor for name in gpu_names(spec, catalog))
    for vendor, name in (("nvidia", "NVIDIA"), ("amd", "AMD")):
        declared, there = vendors[vendor], sum(card.vendor == vendor for card in state.cards)
        if there < declared:
            yield Finding(
                "GPUs",
                "problem",
                f"{there} {name} cards on the bus",
                f"what is declared: {declared}",
                "declare what is there, or see why the others are not: lspci -nn | grep -i "
                f"{vendor}",
            )
        elif vendor in vendors_of(spec, state, catalog):
            yield Finding("GPUs", "ok", f"{there} {name} cards on the bus")
