"""Ports that replicas are published on, where the router is on another host."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Literal

from deploy.errors import Problem
from deploy.plan.deployment_plan import ReplicaPlan
from deploy.spec import DeploymentSpec
from deploy.spec.engine import EngineKind

OPEN: dict[EngineKind, str] = {
    "ollama": "Ollama asks for no key",
    # https://docs.vllm.ai/en/stable/usage/security/
    "vllm": "vLLM asks for its key under /v1 alone, and answers prompts under /invocations too",
}
"""Engines that answer without a key, and how."""


def port_problems(
    spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...], router_host: str
) -> Iterator[Problem]:
    """Two replicas on one port, hosts that the router could not reach, engines open to all."""
    yield from _open_engines(replicas, router_host)
    taken: dict[tuple[str, int], ReplicaPlan] = {}
    for replica in replicas:
        if replica.port is None:
            continue
        other = taken.setdefault((replica.host, replica.port), replica)
        if other is not replica:
            yield Problem(
                "engine.port",
                f"{other.served_model_name} and {replica.served_model_name} would both be"
                f" published on port {replica.port} of {replica.host}",
                "a port of its own for each replica",
                "declare ports of their engines that lie further apart",
            )
    published = {replica.host for replica in replicas if replica.port}
    for index, host in enumerate(spec.hosts):
        if host.name in published and host.is_local and not host.address:
            yield Problem(
                f"hosts[{index}].address",
                f"not set, but the router on {router_host} must reach the engines here",
                "an address or name of this machine that the other host knows",
                "declare address, or run the router here: router.host",
            )
        elif host.name in published and not _is_address(host.address or host.name):
            yield Problem(
                f"hosts[{index}].address",
                f"{host.address or host.name!r} is a name: engines are published on an address",
                "an IP address of this host, in the network that it shares with the router",
                "declare address",
            )


def web_ui_problems(spec: DeploymentSpec) -> Iterator[Problem]:
    """A web UI on another host than the router must reach it."""
    if spec.web_ui and spec.web_ui_host != spec.router_host:
        yield from reach_problems(spec, ("web UI", spec.web_ui_host), "router", spec.router_host)


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
    if not _is_address(address):
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


def _open_engines(replicas: tuple[ReplicaPlan, ...], router_host: str) -> Iterator[Problem]:
    """Engines that everybody who reaches their host could use."""
    seen = set()
    for replica in replicas:
        engine, key = replica.engine, (replica.host, replica.engine.kind)
        if not replica.port or engine.kind not in OPEN or engine.trusted_network or key in seen:
            continue
        seen.add(key)
        yield Problem(
            "engine.trusted_network",
            f"{replica.served_model_name} would be published on {replica.host}, for the router on"
            f" {router_host}: {OPEN[engine.kind]}",
            "a network, or a firewall, that lets only the router's host reach the engines",
            f"set that up and declare trusted_network=True, or run the router on {replica.host}",
        )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
