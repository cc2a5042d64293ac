"""Ports that engines have on their host: those without a container, and those on several hosts."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.errors import Problem
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.shared import beside
from deploy.spec import DeploymentSpec

TRUSTED = "engine.trusted_network"


def port_problems(spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...]) -> Iterator[Problem]:
    """Two replicas on one port, engines open to all, and trust that is not needed."""
    yield from _open_engines(replicas)
    yield from _needless_trust(spec, replicas)
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
            f" {' and '.join(replica.hosts)}: what these hosts say to each other has no key and no"
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
