"""Ports that engines have on their host: those without a container, and those on several hosts."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.errors import Problem
from deploy.plan.replica_plan import ReplicaPlan
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
        if other is not replica:
            yield Problem(
                "engine.port",
                f"{other.served_model_name} and {replica.served_model_name} would both be"
                f" on port {replica.port} of {replica.host}",
                "a port of its own for each replica",
                "declare ports of their engines that lie further apart",
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
