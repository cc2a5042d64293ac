"""Links between hosts: which there are, and why one could not be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import chain

from deploy.errors import Problem
from deploy.plan.addresses import is_address
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import LinksPlan
from deploy.spec import DeploymentSpec, HostSpec


def links_plan(spec: DeploymentSpec, replicas: Sequence[ReplicaPlan]) -> LinksPlan | None:
    """The links; ``None`` where no request goes to an engine on another host."""
    linked = {replica.host for replica in replicas if replica.is_linked}
    if not linked:
        return None
    ends = tuple(host.name for host in spec.hosts if host.name in linked)
    return LinksPlan(spec=spec.links, host=spec.router_host, ends=ends)


def link_problems(spec: DeploymentSpec, replicas: Sequence[ReplicaPlan]) -> Iterator[Problem]:
    """Hosts that a link could not end on, and a port that something else has there."""
    plan = links_plan(spec, replicas)
    for index, host in enumerate(spec.hosts):
        if plan and host.name in plan.ends:
            yield from _address_problems(f"hosts[{index}].address", host, plan.host)
            yield from _port_problems(spec, host.name, replicas)


def _address_problems(path: str, host: HostSpec, router_host: str) -> Iterator[Problem]:
    if host.is_local and not host.address:
        yield Problem(
            path,
            f"not set, but the router on {router_host} must reach the engines here",
            "an address of this machine that the other host knows",
            "declare address, or run the router here: router.host",
        )
    elif not is_address(host.address or host.name):
        yield Problem(
            path,
            f"{host.address or host.name!r} is a name: a link ends on an address",
            "an IP address of this host, in the network that it shares with the router",
            "declare address",
        )
    elif ip_address(host.address or host.name).is_loopback:
        yield Problem(
            path,
            f"{host.address or host.name}, which the router on {router_host} does not reach",
            "an address that the host has in its network",
            "declare another address",
        )


def _port_problems(
    spec: DeploymentSpec, host: str, replicas: Sequence[ReplicaPlan]
) -> Iterator[Problem]:
    port = spec.links.port
    engines = ((each.host, ("engine.port", each.port)) for each in replicas)
    masters = ((each.host, ("engine.master_port", each.master_port)) for each in replicas)
    services = ((on, (setting, taken)) for setting, on, taken in spec.service_ports())
    for on, (setting, taken) in chain(services, engines, masters):
        if (on, taken) == (host, port):
            yield Problem(
                "links.port",
                f"{port}, which {setting} is on {host}, too",
                "a port of its own for each",
                "declare links=Links(port=...)",
            )
