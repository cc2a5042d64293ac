"""The GPUs of each host, from what is declared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploy.catalog import Catalog, in_order, parse_gpus
from deploy.errors import Problem, SpecError
from deploy.plan.deployment_plan import HostPlan
from deploy.plan.mac import mac_gpu_problems
from deploy.plan.mig import layout_problems
from deploy.plan.placement import Gpus
from deploy.sizing import Device, device_of
from deploy.sizing.device import instance_of
from deploy.spec import DeploymentSpec, EngineSpec, HostSpec
from deploy.units import GIB, MIB


def host_problems(spec: DeploymentSpec, catalog: Catalog) -> Iterator[Problem]:
    """GPUs that are not in the catalogue, or that containers cannot use."""
    for index, host in enumerate(spec.hosts):
        path = f"hosts[{index}].gpus"
        for number, text in enumerate(host.gpus):
            place = path if len(host.gpus) == 1 else f"{path}[{number}]"
            yield from _text_problems(place, text, host, catalog)
        if host.is_mac:
            yield from mac_gpu_problems(host, f"hosts[{index}]", catalog)
        if host.mig or host.power_limit_watts or host.gpu_clocks_mhz:
            yield from _setting_problems(host, f"hosts[{index}]", catalog)


def _setting_problems(host: HostSpec, path: str, catalog: Catalog) -> Iterator[Problem]:
    """Settings of GPUs that they do not have."""
    try:
        names = gpu_names(host, catalog)
    except SpecError:
        return
    for setting in ("power_limit_watts", "gpu_clocks_mhz"):
        others = [name for name in names if catalog.gpus[name].vendor != "nvidia"]
        if getattr(host, setting) and others:
            yield Problem(f"{path}.{setting}", f"set for {others[0]}", "GPUs of NVIDIA")
    for gpu, profiles in host.mig.items():
        yield from layout_problems(f"{path}.mig[{gpu}]", names, gpu, profiles, catalog)


def _text_problems(path: str, text: str, host: HostSpec, catalog: Catalog) -> Iterator[Problem]:
    try:
        names = dict.fromkeys(parse_gpus(text, catalog))
    except SpecError as error:
        for problem in error.problems:
            yield Problem(path, problem.found, problem.allowed, problem.fix)
        return
    for name in names:
        match catalog.gpus[name].vendor:
            case "cpu":
                fix = "leave gpus out: engines then run on the CPU"
                yield Problem(path, f"{name!r} is no GPU", "GPUs of NVIDIA or AMD", fix)
            case "apple" if not host.is_mac:
                found = f"{name!r}: containers cannot reach Apple GPUs"
                fix = "declare system='macos': docs/mac.md; the router runs on another host"
                yield Problem(path, found, "GPUs of NVIDIA or AMD", fix)


def host_plan(host: HostSpec, catalog: Catalog) -> HostPlan:
    """A host as the plan sees it."""
    gpus = gpus_of(host, catalog)
    return HostPlan(
        name=host.name,
        gpus=gpu_names(host, catalog),
        gpu_ids=gpus.ids,
        gpu_names=tuple(device.name for device in gpus.devices),
        usable_gib=tuple(device.usable_gib for device in gpus.devices),
        gpu_runtime="cdi" if host.uses_cdi else "nvidia",
        gpu_groups=host.gpu_groups,
        engines=host.engines,
        system=host.system,
        address=host.address or ("" if host.is_local else host.name),
    )


def gpus_of(host: HostSpec, catalog: Catalog) -> Gpus:
    """A host as placement sees it."""
    found = list(_devices(host, catalog))
    ids, devices = tuple(name for name, _ in found), tuple(device for _, device in found)
    return Gpus(host.name, devices, ids)


def _devices(host: HostSpec, catalog: Catalog) -> Iterator[tuple[str, Device]]:
    """GPUs, or the instances that they are divided into, each with what it is called there."""
    for index, name in enumerate(gpu_names(host, catalog)):
        whole = device_of(name, catalog.gpus[name])
        if host.wired_limit_mib:
            whole = replace(whole, usable_gib=host.wired_limit_mib * MIB / GIB)
        if index not in host.mig:
            yield str(index), whole
            continue
        card = catalog.mig[name]
        for number, profile in enumerate(in_order(card, host.mig[index])):
            yield f"{index}:{number}", instance_of(whole, profile, card)


def takes_gpus(engine: EngineSpec, spec: DeploymentSpec) -> bool:
    """Whether a model is served on GPUs: where there are any, unless told not to."""
    return engine.n_gpu_layers != 0 and any(host.gpus for host in spec.hosts)


def gpu_names(host: HostSpec, catalog: Catalog) -> tuple[str, ...]:
    """Catalogue ids of a host's GPUs, in order."""
    return tuple(name for text in host.gpus for name in parse_gpus(text, catalog))
