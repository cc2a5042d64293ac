"""The GPUs of each host, from what is declared."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog import Catalog, parse_gpus
from deploy.errors import Problem, SpecError
from deploy.plan.deployment_plan import HostPlan
from deploy.plan.placement import Gpus
from deploy.sizing import device_of
from deploy.spec import DeploymentSpec, HostSpec


def host_problems(spec: DeploymentSpec, catalog: Catalog) -> Iterator[Problem]:
    """GPUs that are not in the catalogue, or that containers cannot use."""
    for index, host in enumerate(spec.hosts):
        path = f"hosts[{index}].gpus"
        for number, text in enumerate(host.gpus):
            place = path if len(host.gpus) == 1 else f"{path}[{number}]"
            yield from _text_problems(place, text, catalog)


def _text_problems(path: str, text: str, catalog: Catalog) -> Iterator[Problem]:
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
            case "apple":
                found = f"{name!r}: containers cannot reach Apple GPUs"
                fix = (
                    f"size it for its own Ollama: atelier size MODEL --gpus {name} --engine ollama"
                )
                yield Problem(path, found, "GPUs of NVIDIA or AMD", fix)


def host_plan(host: HostSpec, catalog: Catalog) -> HostPlan:
    """A host as the plan sees it."""
    names = gpu_names(host, catalog)
    return HostPlan(
        name=host.name,
        gpus=names,
        usable_gib=tuple(catalog.gpus[name].usable_memory_gib or 0.0 for name in names),
        gpu_runtime=host.gpu_runtime,
        gpu_groups=host.gpu_groups,
        address=host.address or ("" if host.is_local else host.name),
    )


def gpus_of(host: HostSpec, catalog: Catalog) -> Gpus:
    """A host as placement sees it."""
    names = gpu_names(host, catalog)
    return Gpus(host.name, tuple(device_of(name, catalog.gpus[name]) for name in names))


def gpu_names(host: HostSpec, catalog: Catalog) -> tuple[str, ...]:
    """Catalogue ids of a host's GPUs, in order."""
    return tuple(name for text in host.gpus for name in parse_gpus(text, catalog))
