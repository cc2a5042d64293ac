"""On which host a new driver is tried, before others of its kind take it: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from deploy.catalog import Catalog
from deploy.hosts.drivers.host_setup import DRIVERS, HostSetup
from deploy.plan.host_gpus import gpu_names
from deploy.spec import HostSpec

Turn = Literal["first", "then"]
"""When a host's driver changes: at once, or after that of the host where it is tried."""


def tried_on(
    hosts: Iterable[HostSpec], catalog: Catalog, running: Collection[str]
) -> dict[str, str]:
    """Where the driver of each host is tried: the first host with the same kinds of GPUs.

    Args:
        hosts: those whose drivers are managed.
        catalog: where GPUs are looked up.
        running: names of the hosts that this run goes to.
    """
    firsts: dict[object, str] = {}
    found = {}
    for host in hosts:
        kind = (frozenset(gpu_names(host, catalog)), str(host.driver))
        if host.name in running:
            firsts.setdefault(kind, host.name)
        found[host.name] = firsts.get(kind, host.name)
    return found


def waits(setup: HostSetup, name: str, first: str, *, serving: bool) -> bool:
    """Whether a host's driver, which serves, is replaced only after that of another host.

    Args:
        setup: what is to be done to the host.
        name: what it is called.
        first: where the driver is tried.
        serving: whether the drivers that the host wants work.
    """
    return name != first and serving and replaces_driver(setup)


def replaces_driver(setup: HostSetup) -> bool:
    """Whether packages of a driver are installed, of NVIDIA's or AMD's."""
    return any(change.resource in DRIVERS for change in setup.changes)
