"""Whether a host has the GPUs that are declared for it, and drivers that serve the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from deploy.catalog import Catalog, find_gpu
from deploy.errors import SpecError
from deploy.hosts.drivers.amd_findings import broken_amd
from deploy.hosts.drivers.findings import broken_driver
from deploy.hosts.drivers.state import DriverState
from deploy.hosts.finding import Finding
from deploy.hosts.state import Gpu, GpuState
from deploy.plan.host_gpus import gpu_names
from deploy.spec import HostSpec

LOADED = "Failed to initialize NVML: Driver/library version mismatch"


def gpu_findings(
    spec: HostSpec,
    found: GpuState,
    catalog: Catalog,
    cuda: Mapping[str, str],
    drivers: DriverState | None = None,
) -> Iterator[Finding]:
    """What is to be said about the GPUs of a host.

    Args:
        spec: the host as declared.
        found: its GPUs.
        catalog: where GPUs are looked up by the names that drivers give them.
        cuda: CUDA version that each image is made for, by the image's name.
        drivers: what makes them work, as far as it was looked at.
    """
    found = replace(found, gpus=tuple(_named(found, catalog)))
    declared = [
        name for name in gpu_names(spec, catalog) if _vendor(catalog, name) not in {"cpu", None}
    ]
    on_bus = [card for card in found.pci if card.vendor in {"nvidia", "amd"}]
    if found.driver_error or (declared and on_bus and not found.gpus):
        yield _driver(found, drivers, catalog, is_needed=bool(declared))
        return
    yield from _declared(declared, found, catalog)
    cards = [gpu for gpu in found.gpus if gpu.vendor == "nvidia"]
    yield from (_mig(gpu) for n, gpu in enumerate(cards) if gpu.mig and n not in spec.mig)
    if found.cuda_version:
        yield from _cuda(found, cuda)


def _named(found: GpuState, catalog: Catalog) -> Iterator[Gpu]:
    """AMD's cards by their PCI ids, where no tool of ROCm names them.

    A processor's own graphics, which the catalogue does not know, are left out.
    """
    there = {card.address.lower(): card for card in found.pci}
    for gpu in found.gpus:
        card = there.get(gpu.address.lower())
        if gpu.name or card is None:
            yield gpu
            continue
        for row in catalog.amd_cards.values():
            if card.device in row.devices:
                name = row.devices[card.device]
                entry = catalog.gpus.get(name)
                has = (gpu.memory_mib or 0) / 1024
                fits = entry and (row.shares_memory or has > (entry.memory_gib or 0) * 0.9)
                yield replace(gpu, name=name if fits else card.name or f"1002:{card.device}")


def _driver(
    found: GpuState, drivers: DriverState | None, catalog: Catalog, *, is_needed: bool
) -> Finding:
    names = ", ".join(gpu.name or f"PCI device {gpu.device}" for gpu in found.pci)
    reason = found.driver_error or f"{names or 'a GPU'} without a working driver"
    fix = "install the vendor's driver and restart the host"
    if found.driver_error.startswith(LOADED):
        fix = "the driver was updated while the old one is loaded: restart the host"
    if drivers and drivers.nvidia_cards:
        why, better = broken_driver(drivers)
        reason = f"{names}: {why}" if why else reason
        fix = better or fix
    elif drivers and drivers.amd_cards:
        why, better = broken_amd(drivers, catalog)
        reason = f"{names}: {why}" if why else reason
        fix = better or fix
    return Finding(
        "GPU driver", "problem" if is_needed else "warning", reason, "a driver that answers", fix
    )


def _declared(declared: list[str], found: GpuState, catalog: Catalog) -> Iterator[Finding]:
    wanted = Counter(_identify(catalog, name) for name in declared)
    there = Counter(_identify(catalog, gpu.name) for gpu in found.gpus)
    text = _count(there) if there else "none"
    missing = wanted - there
    if missing:
        yield Finding(
            "GPUs",
            "problem",
            f"{text}; missing: {_count(missing)}",
            f"what is declared: {_count(wanted)}",
            "declare the GPUs that are there, or see why the others are not: lspci -nn names the "
            "cards on the bus",
        )
    elif there - wanted:
        spare = _count(there - wanted)
        fix = f"declare gpus=[{', '.join(repr(name) for name in sorted(there.elements()))}]"
        if found.gpus:
            yield Finding("GPUs", "warning", f"{text}; not declared: {spare}", fix=fix)
    else:
        yield Finding("GPUs", "ok", f"{text}, as declared")


def _mig(gpu: Gpu) -> Finding:
    instances = ", ".join(gpu.mig_instances) or "no instances"
    return Finding(
        "GPUs",
        "warning",
        f"{gpu.name} is split by MIG: {instances}",
        "whole GPUs",
        "its memory is planned as a whole: declare mig for the host, or switch MIG off: "
        "nvidia-smi -mig 0",
    )


def _cuda(found: GpuState, images: Mapping[str, str]) -> Iterator[Finding]:
    driver = _version(found.cuda_version)
    has = f"driver {found.driver_version} carries CUDA {found.cuda_version}"
    yield Finding("GPU driver", "ok", has)
    for image, cuda in sorted(images.items()):
        wanted = _version(cuda)
        allowed = f"CUDA {cuda} for the image {image}"
        if driver[:1] < wanted[:1]:
            fix = "update the driver, or declare an image made for an older CUDA"
            yield Finding("GPU driver", "problem", has, allowed, fix)
        elif driver < wanted:
            fix = "it works, except for kernels that are compiled at first use: update the driver"
            yield Finding("GPU driver", "warning", has, allowed, fix)


def _identify(catalog: Catalog, name: str) -> str:
    """The catalogue's id of a GPU, or its own name where the catalogue has none."""
    try:
        return find_gpu(catalog, name)
    except SpecError:
        return name


def _vendor(catalog: Catalog, name: str) -> str | None:
    gpu = catalog.gpus.get(_identify(catalog, name))
    return gpu.vendor if gpu else "other"


def _count(names: Counter[str]) -> str:
    return ", ".join(f"{count}x {name}" for name, count in sorted(names.items()))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
