"""Engines that run as services of their host, without a container."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from deploy.errors import Problem
from deploy.plan.addresses import is_of_no_network
from deploy.plan.replica_plan import ReplicaPlan
from deploy.spec import DeploymentSpec, HostSpec
from deploy.spec.engine_kinds import EngineKind
from deploy.spec.host import SystemName
from deploy.spec.program import ProgramName

PROGRAMS: dict[SystemName, dict[EngineKind, ProgramName]] = {
    "linux": {"llama_cpp": "llama-server"},
    "macos": {"llama_cpp": "llama-server", "ollama": "ollama"},
}
"""Engines that can run so on each system, and the program of each."""
MAC_OR_CPU = ", or n_gpu_layers=0 of the engine for CPUs of hosts with Linux"


def with_native(replicas: Iterable[ReplicaPlan], spec: DeploymentSpec) -> Iterator[ReplicaPlan]:
    """Replicas as their hosts run engines."""
    native = {host.name for host in spec.hosts if host.engines == "native"}
    for replica in replicas:
        is_native = replica.host in native
        yield replica.model_copy(update={"runs": "native"}) if is_native else replica


def native_problems(spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...]) -> Iterator[Problem]:
    """Engines that need a container, programs that are not declared, hosts without an address."""
    for index, host in enumerate(spec.hosts):
        own = [replica for replica in replicas if host.name in replica.hosts]
        if host.engines != "native" or not own:
            continue
        for replica in {each.engine.kind: each for each in own}.values():
            yield from _engine_problems(f"hosts[{index}]", host, replica)
        # where a link ends is looked at with the links
        if not all(replica.is_linked for replica in own):
            yield from _address_problems(f"hosts[{index}]", host, spec.router_host)


def _engine_problems(path: str, host: HostSpec, replica: ReplicaPlan) -> Iterator[Problem]:
    kind = replica.engine.kind
    programs = PROGRAMS[host.system]
    program = programs.get(kind)
    if program is None:
        yield Problem(
            f"{path}.engines",
            f"'native', but {kind} serves {replica.served_model_name}",
            f"'native' for {', '.join(programs)}{' on macOS' if host.is_mac else ''}",
            "declare another engine for the model, or serve it on a host with Linux"
            if host.is_mac
            else "declare engines='containers', or another engine for the model",
        )
    elif replica.gpus and not host.is_mac:
        yield Problem(
            f"{path}.engines",
            f"'native', and {replica.served_model_name} is planned on its GPUs",
            "'native' for engines on CPUs",
            "declare engines='containers', or n_gpu_layers=0 of the engine",
        )
    elif program not in host.programs:
        yield Problem(
            f"{path}.programs",
            f"no {program!r}, which {kind} needs without a container",
            "the program's archive, or its path on the host",
            f"programs={{{program!r}: Program(archive=..., sha256=..., version=...)}}"
            + (MAC_OR_CPU if host.is_mac and kind == "llama_cpp" else ""),
        )


def _address_problems(path: str, host: HostSpec, router_host: str) -> Iterator[Problem]:
    address = host.address or ("" if host.is_local else host.name)
    try:
        ip_address(address)
    except ValueError:
        yield Problem(
            f"{path}.address",
            f"{address!r} is a name" if address else "not set",
            f"an IP address of this host, which engines listen on and the router on {router_host}"
            " reaches",
            "declare address; not 127.0.0.1, which the router's container does not reach",
        )
    else:
        if is_of_no_network(address):
            yield Problem(
                f"{path}.address",
                f"{address}, which the router's container does not reach",
                "an address that the host has in its network",
                "declare another address",
            )
