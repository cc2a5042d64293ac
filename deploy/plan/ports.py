"""How routers reach replicas, and the ports of hosts that some replicas take for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from deploy.errors import Problem, every
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.shared import beside
from deploy.spec import DeploymentSpec

TRUSTED = "engine.trusted_network"


def with_ports(replicas: Iterable[ReplicaPlan], spec: DeploymentSpec) -> Iterator[ReplicaPlan]:
    """Replicas with how the router reaches them: by name, through a link, or at a port.

    Ports of their host have those without a container, and those on several hosts, which meet at
    one more port: each the next free one. On a Mac a link leads to that port, unless the network
    is trusted. Models of a shared Ollama have its one.
    """
    published: Counter[tuple[str, int]] = Counter()
    shared: dict[str, int] = {}
    macs = {host.name for host in spec.hosts if host.is_mac}
    for replica in replicas:
        is_alone = not replica.other_hosts
        if is_alone and replica.runs == "container":
            is_linked = replica.host != spec.router_host
            yield replica.model_copy(update={"is_linked": True}) if is_linked else replica
            continue
        first, name = (replica.host, replica.engine.port), replica.engine.shared
        is_linked = replica.host in macs and not replica.engine.trusted_network
        if name in shared:
            yield replica.model_copy(update={"port": shared[name], "is_linked": is_linked})
            continue
        number = published[first]
        if name:
            shared[name] = replica.engine.port + number
        yield replica.model_copy(
            update={
                "port": replica.engine.port + number,
                "master_port": None if is_alone else replica.engine.master_port + number,
                "is_linked": is_linked,
            }
        )
        published[first] += 1


def port_problems(spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...]) -> Iterator[Problem]:
    """Two on one port, engines open to all, and trust that is not needed."""
    yield from _open_engines(replicas)
    yield from _needless_trust(spec, replicas)
    yield from _ports_of_services(spec, replicas)
    taken: dict[tuple[str, int], ReplicaPlan] = {}
    for replica in replicas:
        if replica.port is None:
            continue
        other = taken.setdefault((replica.host, replica.port), replica)
        if other not in beside(replica, replicas):
            yield Problem(
                "engine.port",
                f"{other.served_model_name} and {replica.served_model_name} would both be"
                f" on port {replica.port} of {replica.host}",
                "a port of its own for each replica",
                "declare ports of their engines that lie further apart",
            )


def _ports_of_services(
    spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...]
) -> Iterator[Problem]:
    """Ports that a router, the web UI or the entry has, too."""
    services = {(host, port): setting for setting, host, port in spec.service_ports()}
    for replica in replicas:
        for name in ("port", "master_port"):
            port = getattr(replica, name)
            if setting := services.get((replica.host, port)):
                yield Problem(
                    f"engine.{name}",
                    f"{replica.served_model_name} would be on port {port} of {replica.host},"
                    f" which is also {setting}",
                    "a port of its own for each",
                    f"declare another {setting}, or another {name} of the engine",
                )


def _open_engines(replicas: tuple[ReplicaPlan, ...]) -> Iterator[Problem]:
    """What everybody in the network of their hosts could use: replicas on several hosts.

    What these say to each other is not HTTP, and has no key:
    https://docs.vllm.ai/en/stable/usage/security/.
    """
    seen = set()
    for replica in replicas:
        if not replica.other_hosts or replica.engine.trusted_network or replica.host in seen:
            continue
        seen.add(replica.host)
        yield Problem(
            TRUSTED,
            f"{replica.served_model_name} would be in the networks of"
            f" {every(replica.hosts)}: what these hosts say to each other has no key and no"
            " encryption, and no link can carry it",
            "a network, or a firewall, that lets only the router's host and each other reach them",
            "set that up and declare trusted_network=True",
        )


def _needless_trust(spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...]) -> Iterator[Problem]:
    """A network that nothing has to trust any more."""
    engines = (spec.engine, *(replica.engine for replica in replicas))
    macs = {host.name for host in spec.hosts if host.is_mac}
    has_use = any(replica.other_hosts or replica.host in macs for replica in replicas)
    if any(each.trusted_network for each in engines) and not has_use:
        yield Problem(
            TRUSTED,
            "True, but no replica lies on several hosts",
            "only with nnodes of 2 and more, or on macOS",
            "remove it: engines on other hosts are reached through links, which are encrypted and"
            " open to routers alone",
        )
