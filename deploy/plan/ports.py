"""Ports that engines have on their host: those without a container, and those on several hosts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from deploy.errors import Problem
from deploy.plan.addresses import is_address
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


def reach_problems(
    spec: DeploymentSpec, who: tuple[str, str], what: Literal["router", "web_ui"], host_name: str
) -> Iterator[Problem]:
    """Why a service does not reach another one on another host.

    Args:
        spec: the deployment.
        who: what asks, and the host that it runs on.
        what: the setting of what is asked.
        host_name: where that runs.
    """
    index = [host.name for host in spec.hosts].index(host_name)
    host, service = spec.hosts[index], spec.router if what == "router" else spec.web_ui
    asks = f"the {who[0]} on {who[1]}"
    name, kind = ("router", "Router") if what == "router" else ("web UI", "WebUI")
    address = host.address or host.name
    if not is_address(address):
        yield Problem(
            f"hosts[{index}].address",
            f"{address!r} is a name: {asks} reaches the {name} at an address",
            f"an IP address of the {name}'s host, in the network that it shares with the"
            f" {who[0]}'s",
            "declare address",
        )
    elif service and not service.listen.is_unspecified and str(service.listen) != address:
        yield Problem(
            f"{what}.listen",
            f"{service.listen}, which {asks} does not reach",
            f"{address!r}, or '0.0.0.0' for every interface",
            f"declare {what}={kind}(listen={address!r}), or run both on one host",
        )


def _open_engines(replicas: tuple[ReplicaPlan, ...]) -> Iterator[Problem]:
    """What everybody in the network of their hosts could use.

    Replicas on several hosts: what these say to each other is not HTTP, and has no key:
    https://docs.vllm.ai/en/stable/usage/security/. Ollama has no key at all:
    https://docs.ollama.com/api/authentication.
    """
    seen = set()
    for replica in replicas:
        if not _is_open(replica) or replica.engine.trusted_network or replica.host in seen:
            continue
        seen.add(replica.host)
        if not replica.other_hosts:
            yield Problem(
                TRUSTED,
                f"{replica.served_model_name} would be in the network of {replica.host}: Ollama"
                " has no key, and there is no link to it without containers",
                "a network, or a firewall, that lets only the router's host reach port"
                f" {replica.port} of {replica.host}",
                "set that up and declare trusted_network=True",
            )
            continue
        yield Problem(
            TRUSTED,
            f"{replica.served_model_name} would be in the networks of"
            f" {' and '.join(replica.hosts)}: what these hosts say to each other has no key and no"
            " encryption, and no link can carry it",
            "a network, or a firewall, that lets only the router's host and each other reach them",
            "set that up and declare trusted_network=True",
        )


def _is_open(replica: ReplicaPlan) -> bool:
    """Whether whoever reaches its host could use it."""
    is_keyless = replica.runs == "native" and replica.engine.kind == "ollama"
    return bool(replica.other_hosts) or is_keyless


def _needless_trust(spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...]) -> Iterator[Problem]:
    """A network that nothing has to trust any more."""
    engines = (spec.engine, *(replica.engine for replica in replicas))
    if any(each.trusted_network for each in engines) and not any(map(_is_open, replicas)):
        yield Problem(
            TRUSTED,
            "True, but no replica lies on several hosts",
            "only with nnodes of 2 and more, or with Ollama on macOS",
            "remove it: engines on other hosts are reached through links, which are encrypted and"
            " open to routers alone",
        )
