"""AMD's cards at work, from what the kernel shows below /sys and /proc: no ROCm is on the host.

Memory, use and names: https://docs.kernel.org/gpu/amdgpu/driver-misc.html. Temperature in
thousandths of a degree, power in millionths of a watt:
https://docs.kernel.org/gpu/amdgpu/thermal.html. Processes: see gpus.sh.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache

from deploy.catalog import Gpu, load_catalog
from deploy.catalog.amd import AmdCard
from deploy.live.card import CardUser, LiveCard, to_number
from deploy.units import GIB, MIB

MILLI, MICRO = 1e3, 1e6
NEARLY = 0.9
"""Of a card's memory, what its driver shows at least."""
UNITS = {"": 1, "KiB": 1024, "MiB": MIB}
"""Of memory in /proc/PID/fdinfo: https://docs.kernel.org/gpu/drm-usage-stats.html"""
SENSORS = ("edge", "junction")
"""Temperatures by label, in the order that is preferred: an MI300X has no ``edge``."""
WORDS = 4
"""In a line of a node or of a process."""
Memory = dict[tuple[str, int], float]
"""Bytes by card and process."""


def parse_amd(sections: Mapping[str, str]) -> tuple[LiveCard, ...]:
    """Cards by PCI address, from the files of each and the memory of each process.

    A processor's own graphics, which neither catalogue nor card has a name for, are left out
    unless something uses them.
    """
    values: dict[str, dict[str, str]] = {}
    for line in sections.get("amd", "").splitlines():
        prefix, name, value = line.split(" ", 2)
        values.setdefault(prefix, {})[name] = value.strip()
    driver = values.pop("driver", {})
    version = driver.get("version") or f"kernel {driver.get('kernel', '')}"
    memory = _memory(sections, values)
    programs = dict(_programs(sections.get("programs", "")))
    found = [
        (files, users)
        for address, files in sorted(values.items())
        if (users := list(_users(address, memory, programs))) or _name(files)
    ]
    return tuple(_card(index, version, *card) for index, card in enumerate(found))


def _name(files: Mapping[str, str]) -> str:
    """The catalogue's, else the card's own; a PCI id may be that of a smaller card, too."""
    row, gpu = _known(_device(files))
    memory = to_number(files.get("mem_info_vram_total")) or 0
    if row and gpu and (row.shares_memory or memory > (gpu.memory_gib or 0) * GIB * NEARLY):
        return gpu.name
    return files.get("product_name") or (f"PCI 1002:{_device(files)}" if row else "")


def _device(files: Mapping[str, str]) -> str:
    return files.get("device", "").removeprefix("0x")


def _card(index: int, version: str, files: dict[str, str], users: list[CardUser]) -> LiveCard:
    row, _ = _known(_device(files))
    kinds = ("vram", "gtt") if row and row.shares_memory else ("vram",)
    power = to_number(files.get("power1_average") or files.get("power1_input"))
    limit = to_number(files.get("power1_cap"))
    return LiveCard(
        vendor="amd",
        index=index,
        name=_name(files) or f"PCI 1002:{_device(files)}",
        driver_version=version,
        memory_used_mib=_mib(files, [f"mem_info_{kind}_used" for kind in kinds]),
        memory_mib=_mib(files, [f"mem_info_{kind}_total" for kind in kinds]),
        temperature_celsius=_temperature(files),
        power_watts=None if power is None else power / MICRO,
        power_limit_watts=limit / MICRO if limit else None,
        utilization_percent=to_number(files.get("gpu_busy_percent")),
        users=tuple(users),
    )


@cache
def _known(device: str) -> tuple[AmdCard | None, Gpu | None]:
    """What the catalogue says of a card, by its PCI id."""
    catalog = load_catalog()
    for row in catalog.amd_cards.values():
        if device in row.devices:
            return row, catalog.gpus.get(row.devices[device])
    return None, None


def _mib(files: dict[str, str], names: list[str]) -> float | None:
    figures = [to_number(files.get(name)) for name in names]
    known = [figure for figure in figures if figure is not None]
    return sum(known) / MIB if known else None


def _temperature(files: dict[str, str]) -> float | None:
    """The preferred sensor's, else the first one's; a card that sleeps says none."""
    labels = {
        value: name.removesuffix("_label")
        for name, value in files.items()
        if name.startswith("temp") and name.endswith("_label")
    }
    sensors = [*(labels[label] for label in SENSORS if label in labels), "temp1"]
    found = (to_number(files.get(f"{sensor}_input")) for sensor in sensors)
    return next((value / MILLI for value in found if value is not None), None)


def _memory(sections: Mapping[str, str], addresses: Collection[str]) -> Memory:
    """What processes have, as the compute driver counts it, else the graphics driver."""
    compute = _by_kfd(sections.get("kfd", ""), addresses)
    return _by_drm(sections.get("drm", "")) | compute


def _by_kfd(text: str, addresses: Collection[str]) -> Memory:
    """From ``node GPU NAME VALUE`` and ``process PID vram_GPU BYTES``."""
    rows = [row for line in text.splitlines() if len(row := line.split()) == WORDS]
    nodes: dict[str, dict[str, int]] = {}
    for _, gpu, name, value in (row for row in rows if row[0] == "node"):
        nodes.setdefault(gpu, {})[name] = int(value)
    memory: Memory = {}
    for _, pid, name, value in (row for row in rows if row[0] == "process"):
        node = nodes.get(name.removeprefix("vram_"))
        if node and int(value):
            key = (_address(node, addresses), int(pid))
            memory[key] = memory.get(key, 0) + int(value)
    return memory


def _address(node: Mapping[str, int], addresses: Collection[str]) -> str:
    """PCI address of a card, or of the card that a partition is of.

    ``location_id`` is bus, device and function; a partition's number is in the bits of the
    function, or above all of them.
    """
    location = node.get("location_id", 0)
    slot = f"{node.get('domain', 0):04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}"
    exact = f"{slot}.{location & 7}"
    return exact if exact in addresses else f"{slot}.0"


def _by_drm(text: str) -> Memory:
    """From ``PID CARD CLIENT SIZE UNIT``: several files of one client say the same."""
    clients: dict[tuple[str, int, str], float] = {}
    for row in (line.split() for line in text.splitlines()):
        if len(row) >= 4 and row[3].isdigit():
            unit = UNITS.get("".join(row[4:]), 1)
            clients[row[1], int(row[0]), row[2]] = int(row[3]) * unit
    memory: Memory = {}
    for (address, pid, _), size in clients.items():
        if size:
            memory[address, pid] = memory.get((address, pid), 0) + size
    return memory


def _programs(text: str) -> Iterable[tuple[int, tuple[str, str]]]:
    """Container and program of each process."""
    for line in text.splitlines():
        pid, container, program = line.split("|", 2)
        yield int(pid), (container.strip("/"), program)


def _users(
    address: str, memory: Memory, programs: Mapping[int, tuple[str, str]]
) -> Iterable[CardUser]:
    for (card, pid), size in sorted(memory.items()):
        if card == address:
            container, program = programs.get(pid, ("", ""))
            yield CardUser(pid, program, container, size / MIB)
