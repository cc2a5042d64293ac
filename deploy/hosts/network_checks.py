"""Whether Docker on a host can make one more network, and packets get through it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from deploy.hosts.address_ranges import free_range
from deploy.hosts.explain_docker import NO_RANGE
from deploy.hosts.finding import Finding
from deploy.hosts.state import HostState
from deploy.services import Unit
from deploy.spec import HostSpec

POOLS = "default-address-pools"
"""What Docker's settings call the ranges that it takes networks from."""


def network_findings(spec: HostSpec, found: HostState) -> Iterator[Finding]:
    """Whether Docker can make the deployment's network; nothing where that is there."""
    daemon = found.daemon
    declared = spec.docker_settings.get(POOLS)
    if declared is not None and not _are_ranges(declared):
        yield Finding(
            "network",
            "problem",
            f"docker_settings declares {POOLS}: {declared!r}",
            "a list of ranges, and the prefix length of the networks that are cut out of each",
            f'declare e.g. {{"{POOLS}": [{{"base": "10.200.0.0/16", "size": 24}}]}}',
        )
        return
    if found.engine_version is None or daemon.has_network:
        return
    pools = _declared_pools(spec) or daemon.pools
    if free_range(pools, daemon.subnets) is None:
        yield Finding(
            "network",
            "problem",
            f"Docker has no address range left: {len(daemon.subnets)} networks have them all",
            "one for the deployment's network",
            NO_RANGE,
        )
    elif free_range(pools, [*daemon.subnets, *daemon.routes]) is None:
        yield Finding(
            "network",
            "warning",
            "the host has routes to every address range that Docker has left, e.g. of a VPN",
            "one for the deployment's network",
            NO_RANGE,
        )


def forwarding_findings(units: Iterable[Unit], found: HostState) -> Iterator[Finding]:
    """Whether packets get from the network to containers, and back.

    Docker switches forwarding on when it starts; hardening guides (CIS) switch it off, which
    counts as soon as their settings are loaded again.
    """
    bridged = [unit for unit in units if _has_own_network(unit)]
    # these have a network of their own, which forwards
    is_elsewhere = found.daemon.is_rootless or found.daemon.is_apart
    if found.daemon.forwards or is_elsewhere or not bridged:
        return
    ports = ((unit.name, port) for unit in bridged for port in unit.container.ports)
    asked = list(dict.fromkeys(name for name, port in ports if not _is_own(port.host_ip)))
    whom = f", and nobody reaches {', '.join(asked)} from other machines" if asked else ""
    yield Finding(
        "network",
        "problem" if asked else "warning",
        f"the host forwards no packets (net.ipv4.ip_forward=0): containers reach nothing{whom}",
        "net.ipv4.ip_forward=1",
        "switch it on: sudo sysctl -w net.ipv4.ip_forward=1; and set it to 1 in the file below "
        "/etc/sysctl.d that switches it off",
    )


def _has_own_network(unit: Unit) -> bool:
    return unit.runs.kind == "container" and not unit.container.is_on_host_network


def _is_own(address: str) -> bool:
    """Whether the host alone reaches what listens there."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _declared_pools(spec: HostSpec) -> tuple[tuple[str, int], ...]:
    """What Docker will have, where Atelier looks after it."""
    pools = spec.docker_settings.get(POOLS) or ()
    return tuple((pool["base"], pool["size"]) for pool in pools)


def _are_ranges(pools: Any) -> bool:
    """Whether Docker takes them as pools of addresses."""
    try:
        ranges = [(ip_network(pool["base"], strict=False), pool["size"]) for pool in pools]
    except (TypeError, KeyError, ValueError):
        return False
    return all(
        type(size) is int and pool.prefixlen <= size <= pool.max_prefixlen for pool, size in ranges
    )
