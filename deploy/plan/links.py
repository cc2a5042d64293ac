"""Links between hosts: which there are, and why one could not be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import chain

from deploy.errors import Problem
from deploy.plan.addresses import is_address
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import Hop, LinksPlan
from deploy.spec import DeploymentSpec, HostSpec
from deploy.spec.endpoint import EndpointSpec
from deploy.tls.pair import LinkEnd

IPV4 = 4
NAMES = {"entry": "the entry", "router": "the router", "web_ui": "the web UI"}
"""What asks, as people call it."""
ASKED = {"engine": "the engines", "router": "the router", "web_ui": "the web UI"}
"""What is asked."""


def links_plan(spec: DeploymentSpec, replicas: Sequence[ReplicaPlan]) -> LinksPlan | None:
    """The links; ``None`` where no request goes from one host to another."""
    hops = tuple(_hops(spec, replicas))
    if not hops:
        return None
    asked = {hop.server for hop in hops}
    ends = tuple(host.name for host in spec.hosts if host.name in asked)
    return LinksPlan(spec=spec.links, hops=hops, ends=ends)


def _hops(spec: DeploymentSpec, replicas: Sequence[ReplicaPlan]) -> Iterator[Hop]:
    """Whatever is asked by a service on another host."""
    router, web_ui, entry = spec.router_host, spec.web_ui_host, spec.entry_host
    for host in dict.fromkeys(replica.host for replica in replicas if replica.is_linked):
        yield Hop(client=router, server=host, asks="router", asked="engine")
    if spec.entry and entry != router:
        yield Hop(client=entry, server=router, asks="entry", asked="router")
    if spec.entry and spec.web_ui and entry != web_ui:
        yield Hop(client=entry, server=web_ui, asks="entry", asked="web_ui")
    if spec.web_ui and web_ui != router:
        yield Hop(client=web_ui, server=router, asks="web_ui", asked="router")


def link_problems(spec: DeploymentSpec, replicas: Sequence[ReplicaPlan]) -> Iterator[Problem]:
    """Hosts that a link could not end on, and a port that something else has there."""
    plan = links_plan(spec, replicas)
    if plan:
        yield from _name_problems(spec, plan)
    for index, host in enumerate(spec.hosts):
        hop = next((hop for hop in plan.hops if hop.server == host.name), None) if plan else None
        if hop:
            yield from _address_problems(f"hosts[{index}].address", host, hop)
            yield from _port_problems(spec, host.name, replicas)


def link_warnings(spec: DeploymentSpec, replicas: Sequence[ReplicaPlan]) -> Iterator[str]:
    """Addresses that containers do not reach by themselves, and ports that nothing here asks."""
    yield from _address_warnings(spec, links_plan(spec, replicas))
    if spec.entry:
        yield from _port_warnings(spec)


def _address_warnings(spec: DeploymentSpec, plan: LinksPlan | None) -> Iterator[str]:
    """A link begins in a container, whose network has IPv4 alone."""
    for index, host in enumerate(spec.hosts):
        address = host.address or host.name
        is_asked = plan is not None and host.name in plan.ends
        if is_asked and is_address(address) and ip_address(address).version != IPV4:
            yield (
                f"hosts[{index}].address: containers reach {address} only where Docker gives each"
                ' network IPv6 ("default-network-opts"); declare an IPv4 address'
            )


def _port_warnings(spec: DeploymentSpec) -> Iterator[str]:
    """Ports that earlier releases needed in the network, and that nothing here asks any more."""
    services: list[tuple[str, EndpointSpec, str, str]] = [
        (setting, router, spec.router_host, "programs ask the router")
        for setting, router in spec.router_settings()
        if spec.is_behind_entry(router)
    ]
    if spec.web_ui:
        services.append(("web_ui", spec.web_ui, spec.web_ui_host, "people open the web UI"))
    for setting, service, host, use in services:
        if host != spec.entry_host and not service.listen.is_loopback:
            yield (
                f"{setting}.listen: port {service.port} of {host} is open at {service.listen},"
                " without encryption; the entry goes through a link. Remove listen unless"
                f" {use} there directly"
            )


def _name_problems(spec: DeploymentSpec, plan: LinksPlan) -> Iterator[Problem]:
    """Hosts that one could take for each other: a certificate has one name, in small letters."""
    linked = {name for hop in plan.hops for name in (hop.client, hop.server)}
    taken: dict[str, str] = {}
    for index, host in enumerate(spec.hosts):
        if host.name not in linked:
            continue
        shown = LinkEnd(host.name, "server").common_name
        other = taken.setdefault(shown, host.name)
        if other != host.name:
            yield Problem(
                f"hosts[{index}].name",
                f"{host.name!r}, and another host is {other!r}: the certificates of both would be"
                f" for {shown}",
                "names that differ in more than capitals and signs, within 59 characters",
                "give it another name, and say where it is: address",
            )


def _address_problems(path: str, host: HostSpec, hop: Hop) -> Iterator[Problem]:
    asks, asked = NAMES[hop.asks], ASKED[hop.asked]
    if host.is_local and not host.address:
        yield Problem(
            path,
            f"not set, but {asks} on {hop.client} must reach {asked} here",
            "an address of this machine that the other host knows",
            f"declare address, or run {asks} here: {hop.asks}.host",
        )
    elif not is_address(host.address or host.name):
        yield Problem(
            path,
            f"{host.address or host.name!r} is a name: a link ends on an address",
            f"an IP address of this host, in the network that {asks} on {hop.client} is in",
            "declare address",
        )
    elif ip_address(host.address or host.name).is_loopback:
        yield Problem(
            path,
            f"{host.address or host.name}, which {asks} on {hop.client} does not reach",
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
