"""What makes the GPUs of a host work: modules, packages, services, in the one look."""

from __future__ import annotations

import base64
import re

from pyinfra.api import FactBase

from deploy.facts.gpus import LIST_PCI, MIG_INSTANCE, parse_pci
from deploy.facts.look import words
from deploy.facts.sections import first, split_sections
from deploy.facts.system import SYSTEM_SECTIONS, parse_system
from deploy.hosts.drivers.files import FILES
from deploy.hosts.drivers.state import (
    Amd,
    DriverState,
    Flavour,
    GpuSettings,
    Nvidia,
    Package,
    Toolkit,
)
from deploy.scripts import read_script

VERSION = re.compile(r"\b\d{3}\.\d+(?:\.\d+)?")
SETTINGS = 7
"""How many values look_at_drivers.sh asks of each GPU."""
XID = re.compile(r"NVRM: (Xid \(PCI:[\w:.]+\): \d+.*|.*fallen off the bus.*)")
FIRMWARE = re.compile(r"Direct firmware load for (amdgpu/\S+) failed")


class Drivers(FactBase[DriverState]):
    """Drivers of GPUs, what they are made from, and what keeps them."""

    def command(self) -> str:
        """Print sections."""
        lines = [
            *SYSTEM_SECTIONS,
            f"pci=$({LIST_PCI})",
            f"set -- {words(FILES)}",
            read_script("look_at_drivers.sh"),
        ]
        return "\n".join(lines)

    @staticmethod
    def default() -> DriverState:
        """A host that did not answer."""
        return DriverState()

    def process(self, output: list[str]) -> DriverState:
        """Parse the sections."""
        sections = split_sections(output)
        kernels = [line.split() for line in sections.get("kernels", [])]
        boot, usr = first(sections.get("boot")), first(sections.get("usr"))
        return DriverState(
            system=parse_system(sections),
            cards=tuple(parse_pci(sections.get("pci", []))),
            nvswitches=sections.get("nvswitches", []).count("0x10de"),
            kernel=first(sections.get("uname")),
            kernels=frozenset(name for kind, name in kernels if kind == "kernel"),
            headers=frozenset(name for kind, name in kernels if kind == "headers"),
            time=first(sections.get("time")),
            boot_id=first(sections.get("boot_id")),
            loaded=frozenset(sections.get("loaded", [])),
            nvidia=_nvidia(sections),
            toolkit=_toolkit(sections),
            amd=_amd(sections),
            secure_boot=_secure_boot(sections.get("secure_boot", [])),
            packages=_packages(sections),
            holds=_holds(sections),
            dkms_errors=tuple(line.strip() for line in sections.get("dkms_errors", [])),
            gpu_settings=_gpu_settings(sections),
            services=_services(sections.get("services", [])),
            files=_files(sections),
            iommu=first(sections.get("iommu")),
            boot_free_bytes=int(boot) * 1024 if boot.isdigit() else None,
            usr_free_bytes=int(usr) * 1024 if usr.isdigit() else None,
        )


def _nvidia(sections: dict[str, list[str]]) -> Nvidia:
    nvrm = first(sections.get("nvrm"))
    version = first(sections.get("loaded_version"))
    module = VERSION.search(nvrm)
    smi = sections.get("smi", [])
    disk = [line.strip() for line in sections.get("disk", [])]
    return Nvidia(
        loaded_version=version or (module[0] if module else ""),
        loaded_flavour=_flavour(nvrm),
        disk_version=disk[0] if disk else "",
        disk_flavour=_flavour_of_licence(disk[1]) if len(disk) > 1 else None,
        module_kernels=frozenset(sections.get("module_kernels", [])),
        library_version=first(sections.get("library")).rpartition(".so.")[2],
        smi_status=int(smi[0]) if smi else None,
        smi_said=" ".join(line.strip() for line in smi[1:]),
        xids=tuple(found[1] for line in sections.get("xids", []) if (found := XID.search(line))),
    )


def _gpu_settings(sections: dict[str, list[str]]) -> tuple[GpuSettings, ...]:
    """From nvidia-smi's list of GPUs and instances, and a query with a row for each GPU."""
    layouts: list[list[str]] = []
    for line in sections.get("gpus", []):
        if line.startswith("GPU "):
            layouts.append([])
        elif layouts and (instance := MIG_INSTANCE.match(line)):
            layouts[-1].append(instance[1])
    rows = [line.split(", ") for line in sections.get("gpu_settings", [])]
    if len(rows) != len(layouts) or any(len(row) != SETTINGS for row in rows):
        return ()
    return tuple(
        _settings([word.strip() for word in row], layout)
        for row, layout in zip(rows, layouts, strict=True)
    )


def _settings(row: list[str], layout: list[str]) -> GpuSettings:
    mig, pending, *numbers = row
    watts = [_number(text) for text in numbers]
    return GpuSettings(
        mig=mig == "Enabled",
        mig_pending=pending == "Enabled",
        instances=tuple(layout),
        power_watts=watts[0],
        default_power_watts=watts[1],
        least_power_watts=watts[2],
        most_power_watts=watts[3],
        most_clock_mhz=None if watts[4] is None else int(watts[4]),
    )


def _number(text: str) -> float | None:
    """``None`` for what a card does not have: ``[N/A]``."""
    try:
        return float(text)
    except ValueError:
        return None


def _flavour(nvrm: str) -> Flavour | None:
    """From ``/proc/driver/nvidia/version``."""
    if not nvrm:
        return None
    return "open" if "Open Kernel Module" in nvrm else "proprietary"


def _flavour_of_licence(licence: str) -> Flavour:
    """From ``modinfo -F license``: ``Dual MIT/GPL`` of the open modules, else ``NVIDIA``."""
    return "open" if "MIT" in licence else "proprietary"


def _toolkit(sections: dict[str, list[str]]) -> Toolkit:
    said = first(sections.get("toolkit"))
    kind, devices, made_for = "", [], ""
    for line in sections.get("cdi", []):
        word = line.split()[-1].strip("\"'")
        if line.startswith("kind:"):
            kind = word
        elif "libnvidia-ml.so." in line:
            made_for = word.rpartition(".so.")[2]
        elif kind:
            devices.append(f"{kind}={word}")
    # "unknown" of one that was built without its Makefile
    version = re.search(r"version (\S+)", said)
    return Toolkit(
        version=version[1] if version else "",
        devices=tuple(dict.fromkeys(devices)),
        specification_version=made_for,
        is_newer_than_docker=bool(sections.get("toolkit_is_newer")),
    )


def _amd(sections: dict[str, list[str]]) -> Amd:
    targets = [line.split()[1] for line in sections.get("gfx", []) if line.split()[1] != "0"]
    lines = sections.get("amdgpu", [])
    values = {name: value for name, _, value in (line.partition(" ") for line in lines)}
    groups = sections.get("kfd") or sections.get("render_group", [])
    missing = (FIRMWARE.search(line) for line in sections.get("firmware", []))
    return Amd(
        has_kfd="kfd" in sections,
        loaded_version=values.get("loaded", ""),
        disk_version=values.get("disk", ""),
        loaded_source=values.get("loaded_source", ""),
        disk_source=values.get("disk_source", "") if values.get("disk") else "",
        has_own_module="own" in values or "amdgpu" not in sections,
        module_kernels=frozenset(line.split()[1] for line in lines if line.startswith("built ")),
        gfx=tuple(_gfx(int(target)) for target in targets),
        groups=frozenset(int(line) for line in groups),
        missing_firmware=tuple(dict.fromkeys(found[1] for found in missing if found)),
    )


def _gfx(target: int) -> str:
    """``gfx942`` of 90402: two digits each for the last two parts, in hexadecimal."""
    return f"gfx{target // 10_000}{target // 100 % 100:x}{target % 100:x}"


def _secure_boot(lines: list[str]) -> bool | None:
    """What mokutil says, or the last byte of the firmware's variable."""
    text = " ".join(lines)
    if "SecureBoot" in text:
        return "SecureBoot enabled" in text
    if text.strip() == "BIOS":
        return False
    numbers = text.split()
    return numbers[-1] == "1" if numbers and numbers[-1].isdigit() else None


def _packages(sections: dict[str, list[str]]) -> dict[str, Package]:
    rows = [line.split("|") for line in (*sections.get("dpkg", []), *sections.get("rpm", []))]
    return {
        name: Package(status.ljust(2), version.strip())
        for status, name, version in (row for row in rows if len(row) == 3)
        if status[1:2] not in {"n", "c"}
    }


def _holds(sections: dict[str, list[str]]) -> frozenset[str]:
    rows = [line.split("|") for line in sections.get("dpkg", [])]
    held = {row[1] for row in rows if row[0].startswith("h")}
    locked = (line.strip() for line in sections.get("versionlock", []))
    names = (re.match(r"([\w+.-]+?)-(?:\d+:)?\d", line) for line in locked if line[:1] != "#")
    return frozenset(held | {name[1] for name in names if name})


def _services(lines: list[str]) -> dict[str, str]:
    rows = [line.split(maxsplit=1) for line in lines]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def _files(sections: dict[str, list[str]]) -> dict[str, str]:
    return {
        name.removeprefix("file "): base64.b64decode(first(lines)).decode("utf-8", "replace")
        for name, lines in sections.items()
        if name.startswith("file ")
    }
