"""What a Mac can be declared with, and what must run elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog import Catalog, parse_gpus
from deploy.errors import Problem, SpecError
from deploy.plan.replica_plan import ReplicaPlan
from deploy.spec import DeploymentSpec, HostSpec, SecretSource

LEFT_TO_MACOS_MIB = 8192
"""Memory that macOS keeps: with less, it stops programs, or itself."""


def mac_gpu_problems(host: HostSpec, path: str, catalog: Catalog) -> Iterator[Problem]:
    """A Mac has one chip of Apple, and its GPU may not have all of the memory.

    Args:
        host: a host with macOS.
        path: its place in the inventory.
        catalog: what is known of GPUs.
    """
    try:
        names = [name for text in host.gpus for name in parse_gpus(text, catalog)]
    except SpecError:
        return
    macs = [name for name, gpu in catalog.gpus.items() if gpu.vendor == "apple"]
    if len(names) != 1 or names[0] not in macs:
        found = ", ".join(map(repr, names)) or "none"
        fix = "declare the Mac by its chip and memory, e.g. gpus='mac-studio-256'"
        yield Problem(f"{path}.gpus", found, f"one of {', '.join(macs)} on macOS", fix)
        return
    memory_mib = int((catalog.gpus[names[0]].memory_gib or 0) * 1024)
    most = memory_mib - LEFT_TO_MACOS_MIB
    if host.wired_limit_mib is not None and host.wired_limit_mib > most:
        yield Problem(
            f"{path}.wired_limit_mib",
            f"{host.wired_limit_mib} of {memory_mib} MiB",
            f"at most {most}, which leaves {LEFT_TO_MACOS_MIB} MiB to macOS",
            "declare less, or leave it out: macOS then gives its GPU 75 %",
        )


def mac_problems(spec: DeploymentSpec, replicas: tuple[ReplicaPlan, ...]) -> Iterator[Problem]:
    """Services that need containers, and settings that launchd has nothing for."""
    macs = {host.name for host in spec.hosts if host.is_mac}
    for setting, host, kind in _services(spec):
        if host in macs:
            yield Problem(
                f"{setting}.host",
                f"{host!r}, which runs macOS: it would run in a container, and Atelier runs none"
                " on a Mac",
                _linux(spec),
                f"declare {setting}={kind}(host=...) with a host that has Linux",
            )
    seen: set[tuple[str, str]] = set()
    for replica in replicas:
        key = (replica.host, replica.served_model_name)
        if replica.host in macs and key not in seen:
            seen.add(key)
            yield from _engine_problems(replica)


def _services(spec: DeploymentSpec) -> Iterator[tuple[str, str, str]]:
    """Setting, host and kind of what faces people."""
    yield next(spec.router_settings())[0], spec.router_host, "Router"
    if spec.web_ui:
        yield "web_ui", spec.web_ui_host, "WebUI"
    if spec.entry:
        yield "entry", spec.entry_host, "Entry"


def _linux(spec: DeploymentSpec) -> str:
    others = [host.name for host in spec.hosts if not host.is_mac]
    return " or ".join(map(repr, others)) or "a host with Linux: declare one"


def _engine_problems(replica: ReplicaPlan) -> Iterator[Problem]:
    engine, name = replica.engine, replica.served_model_name
    secrets = [each for each, value in engine.env.items() if isinstance(value, SecretSource)]
    if secrets:
        yield Problem(
            f"engine.env.{secrets[0]}",
            f"a secret for {name}, which runs under launchd on {replica.host}",
            "plain values: launchd shows every user of a Mac the environment of its daemons",
            "remove it, or serve the model on a host with Linux",
        )
    if not replica.gpus:
        yield Problem(
            "engine.n_gpu_layers",
            f"{engine.n_gpu_layers} for {name} on {replica.host}, whose one memory is its GPU's",
            "all layers on the GPU",
            "remove n_gpu_layers, or declare a host with Linux and no GPUs",
        )
    if engine.memory_limit is not None:
        yield Problem(
            "engine.memory_limit",
            f"declared for {name} on {replica.host}, whose launchd limits no memory",
            "a model that fits by its size",
            "declare it of engines on other hosts alone; see wired_limit_mib of the host",
        )
