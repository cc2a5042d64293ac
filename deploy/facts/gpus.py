"""The GPUs of a host and their drivers, in one round trip."""

from __future__ import annotations

import csv
import json
import re
from typing import Any

from pyinfra.api import FactBase

from deploy.facts.sections import first, split_sections
from deploy.hosts.state import Gpu, GpuState, GpuVendor, PciGpu
from deploy.units import MIB

FIELDS = (
    *("index", "uuid", "name", "memory.total", "driver_version"),
    *("pci.bus_id", "mig.mode.current", "ecc.mode.current"),
    *("ecc.mode.pending", "persistence_mode", "compute_mode", "power.limit", "power.default_limit"),
)
"""What nvidia-smi is asked for; ``nvidia-smi --help-query-gpu`` explains them."""
SPLIT = "[0-9a-fA-F].[0-9],\\ Enabled,"
"""Pattern of the shell: in a row of that query, the address of a GPU that is split by MIG."""
VENDORS: dict[str, GpuVendor] = {"10de": "nvidia", "1002": "amd", "8086": "intel"}
CLASSES = "0300|0302|0380|1200"
"""PCI classes: VGA, 3D and display controllers, processing accelerators."""
PCI_IDS = re.compile(r"\[([0-9a-f]{4}):([0-9a-f]{4})\]")
PCI_NAME = re.compile(rf"\[(?:{CLASSES})\]: (.*?) \[[0-9a-f]{{4}}:[0-9a-f]{{4}}\]")
CUDA = re.compile(r"CUDA(?: UMD)? Version: *(\d+\.\d+)")
MIG_INSTANCE = re.compile(r"\s*MIG (\S+)\s+Device\s+\d+:")
LISTED_GPU = re.compile(r"GPU \d+: .* \(UUID: (GPU-[\w-]+)\)")
SYSFS = (
    "for d in /sys/bus/pci/devices/*; do "
    'c=$(cat "$d/class" 2>/dev/null); c=${c#0x}; c=${c%??}; '
    f'case "$c" in {CLASSES}) v=$(cat "$d/vendor"); p=$(cat "$d/device"); '
    'echo "${d##*/} sysfs [$c]: [${v#0x}:${p#0x}]";; esac; done'
)
LIST_PCI = f"lspci -Dnn 2>/dev/null | grep -E '\\[({CLASSES})\\]' || {{ {SYSFS}; }}"
"""Shell: a line for each GPU on the PCI bus."""
AMD_SYSFS = (
    'for d in /sys/bus/pci/devices/*; do [ ! -e "$d/mem_info_vram_total" ] || '
    'echo "${d##*/} $(cat "$d/mem_info_vram_total")"; done'
)
"""Shell: address and memory in bytes of each card that amdgpu drives, without any tool of ROCm:
https://docs.kernel.org/gpu/amdgpu/driver-misc.html"""
AMD_SMI = "amd-smi static --asic --bus --vram --driver --json"
ROCM_SMI = "rocm-smi --showproductname --showmeminfo vram --showbus --showdriverversion --json"


class Gpus(FactBase[GpuState]):
    """PCI devices, and what nvidia-smi, amd-smi, rocm-smi, amdgpu and system_profiler report."""

    def command(self) -> str:
        """Print sections; every tool may be missing, fail or hang."""
        query = f"nvidia-smi --query-gpu={','.join(FIELDS)} --format=csv,noheader,nounits"
        return "; ".join(
            [
                "t=; ! command -v timeout >/dev/null || t='timeout 30'",
                f"echo '@pci'; {LIST_PCI}",
                "if command -v nvidia-smi >/dev/null; then "
                f"echo '@nvidia'; q=$($t {query} 2>&1); s=$?; printf '%s\\n' \"$q\"; "
                "echo '@nvidia_status'; echo $s; "
                "[ $s != 0 ] || { echo '@nvidia_banner'; $t nvidia-smi 2>/dev/null | grep 'CUDA'; "
                f"echo '@nvidia_list'; case \"$q\" in *{SPLIT}*) $t nvidia-smi -L 2>/dev/null;; "
                "esac; }; fi",
                f"if command -v amd-smi >/dev/null; then echo '@amd'; $t {AMD_SMI} 2>/dev/null; "
                "elif command -v rocm-smi >/dev/null; then "
                f"echo '@rocm'; $t {ROCM_SMI} 2>/dev/null; "
                f"else echo '@amdgpu'; {AMD_SYSFS}; fi",
                "if command -v system_profiler >/dev/null; then "
                "echo '@mac'; $t system_profiler SPDisplaysDataType -json 2>/dev/null; fi",
                "true",
            ]
        )

    @staticmethod
    def default() -> GpuState:
        """No GPU."""
        return GpuState()

    def process(self, output: list[str]) -> GpuState:
        """Parse the sections."""
        sections = split_sections(output)
        nvidia, nvidia_driver, error = _nvidia(sections)
        amd, amd_driver = _amd(sections)
        status = first(sections.get("nvidia_status"))
        cuda = CUDA.search(" ".join(sections.get("nvidia_banner", [])))
        return GpuState(
            pci=tuple(parse_pci(sections.get("pci", []))),
            gpus=(*nvidia, *amd, *_mac(sections.get("mac", []))),
            driver_version=nvidia_driver or amd_driver,
            cuda_version=cuda[1] if cuda else "",
            driver_error=error,
            driver_status=int(status) if status.isdigit() else None,
        )


def parse_pci(lines: list[str]) -> list[PciGpu]:
    """Lines of ``lspci -Dnn``, or those that sysfs is read into."""
    found = []
    for line in lines:
        ids = PCI_IDS.findall(line)
        if ids and ids[-1][0] in VENDORS:
            name = PCI_NAME.search(line)
            vendor, device = ids[-1]
            found.append(PciGpu(line.split()[0], VENDORS[vendor], device, name[1] if name else ""))
    return found


def _nvidia(sections: dict[str, list[str]]) -> tuple[list[Gpu], str, str]:
    """GPUs, version of the driver, and why it reports none."""
    lines = sections.get("nvidia", [])
    rows = [row for row in csv.reader(lines, skipinitialspace=True) if len(row) == len(FIELDS)]
    instances = _mig_instances(sections.get("nvidia_list", []))
    if not rows:
        return [], "", " ".join(line.strip() for line in lines)
    gpus = [_nvidia_gpu(dict(zip(FIELDS, row, strict=True)), instances) for row in rows]
    return gpus, rows[0][FIELDS.index("driver_version")], ""


def _nvidia_gpu(row: dict[str, str], instances: dict[str, tuple[str, ...]]) -> Gpu:
    memory = row["memory.total"]
    return Gpu(
        vendor="nvidia",
        name=row["name"],
        memory_mib=int(memory) if memory.isdigit() else None,
        uuid=row["uuid"],
        address=row["pci.bus_id"].lower(),
        mig=row["mig.mode.current"] == "Enabled",
        ecc=_switch(row["ecc.mode.current"]),
        mig_instances=instances.get(row["uuid"], ()),
        ecc_pending=_switch(row["ecc.mode.pending"]),
        persistence=_switch(row["persistence_mode"]),
        compute_mode=row["compute_mode"],
        power_watts=_watts(row["power.limit"]),
        default_power_watts=_watts(row["power.default_limit"]),
    )


def _switch(text: str) -> bool | None:
    return {"Enabled": True, "Disabled": False}.get(text)


def _watts(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _mig_instances(lines: list[str]) -> dict[str, tuple[str, ...]]:
    """Profiles of the instances in ``nvidia-smi -L``, by UUID of the GPU they are part of."""
    found: dict[str, tuple[str, ...]] = {}
    uuid = ""
    for line in lines:
        if gpu := LISTED_GPU.match(line):
            uuid = gpu[1]
        elif instance := MIG_INSTANCE.match(line):
            found[uuid] = (*found.get(uuid, ()), instance[1])
    return found


def _amd(sections: dict[str, list[str]]) -> tuple[list[Gpu], str]:
    """GPUs and version of the driver, from amd-smi or the older rocm-smi."""
    if "amd" in sections:
        data = _json(sections["amd"])
        rows = data.get("gpu_data", []) if isinstance(data, dict) else data or []
        drivers = [row.get("driver", {}).get("version", "") for row in rows]
        return [_amd_smi_gpu(row) for row in rows], next(iter(drivers), "")
    if "amdgpu" in sections:
        return [_amdgpu(*line.split()) for line in sections["amdgpu"]], ""
    cards = _json(sections.get("rocm", [])) or {}
    driver = str(cards.get("system", {}).get("Driver version", ""))
    return [_rocm_smi_gpu(card) for name, card in cards.items() if name.startswith("card")], driver


def _amd_smi_gpu(row: dict[str, Any]) -> Gpu:
    size = row.get("vram", {}).get("size", {})
    memory = size.get("value") if isinstance(size, dict) else None
    return Gpu(
        vendor="amd",
        name=str(row.get("asic", {}).get("market_name", "")),
        memory_mib=memory if isinstance(memory, int) else None,
        address=str(row.get("bus", {}).get("bdf", "")).lower(),
    )


def _amdgpu(address: str, memory_bytes: str) -> Gpu:
    """A card that no tool names: its PCI id says what it is."""
    return Gpu(vendor="amd", name="", memory_mib=int(memory_bytes) // MIB, address=address)


def _rocm_smi_gpu(card: dict[str, str]) -> Gpu:
    # the capitals differ between versions
    values = {name.lower(): value for name, value in card.items()}
    memory = values.get("vram total memory (b)", "")
    return Gpu(
        vendor="amd",
        name=values.get("card series", ""),
        memory_mib=int(memory) // MIB if memory.isdigit() else None,
        address=values.get("pci bus", "").lower(),
    )


def _mac(lines: list[str]) -> list[Gpu]:
    """GPUs of a Mac; their memory is the machine's."""
    data = _json(lines) or {}
    names = [row.get("sppci_model") or row["_name"] for row in data.get("SPDisplaysDataType", [])]
    return [Gpu("apple" if "Apple" in name else "other", name) for name in names]


def _json(lines: list[str]) -> Any:
    """The JSON in the lines, after whatever warnings stand above it; ``None`` if there is none."""
    text = "\n".join(lines)
    starts = [position for position in (text.find("{"), text.find("[")) if position >= 0]
    try:
        return json.loads(text[min(starts) :]) if starts else None
    except ValueError:
        return None
