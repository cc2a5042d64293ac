"""Drivers of hosts, from recorded outputs; and the look itself, on a host that is made up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.facts.drivers import Drivers
from deploy.hosts.drivers.state import Amd, DriverState, Nvidia, Package

FIXTURES = Path(__file__).parent / "fixtures" / "drivers"


def read(name: str) -> DriverState:
    return Drivers().process((FIXTURES / f"{name}.txt").read_text().splitlines())


def test_a_card_without_a_driver() -> None:
    found = read("bare_debian")
    assert [(card.vendor, card.device) for card in found.nvidia_cards] == [("nvidia", "2330")]
    assert (found.kernel, *found.kernels) == ("6.1.0-56-amd64", "6.1.0-56-amd64")
    assert (found.nvidia, found.headers) == (Nvidia(), frozenset())
    assert found.secure_boot is False
    assert found.boot_free_bytes == 412345 * 1024
    assert found.packages == {"linux-image-amd64": Package("ii ", "6.1.192-1")}


def test_a_driver_that_serves() -> None:
    found = read("serving_ubuntu")
    assert found.nvidia == Nvidia(
        loaded_version="580.178.04",
        loaded_flavour="open",
        disk_version="580.178.04",
        disk_flavour="open",
        module_kernels=frozenset({"6.8.0-87-generic"}),
        library_version="580.178.04",
        smi_status=0,
    )
    assert (found.nvswitches, len(found.nvidia_cards), found.iommu) == (4, 2, "identity")
    # the last of the bytes that the firmware keeps
    assert found.secure_boot is True
    assert found.services["nvidia-fabricmanager"] == "enabled active"
    # packages that were removed are not there, and those that were never installed neither
    assert {name for name in found.packages if "utils" in name} == {"nvidia-utils-580-server"}
    assert "nvidia-utils-580-server" in found.holds
    assert "nvidia-container-toolkit" not in found.holds
    assert found.toolkit.version == "1.20.0"
    assert found.toolkit.devices == ("nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=all")
    assert found.toolkit.specification_version == "580.178.04"
    assert found.files == {"/etc/modprobe.d/atelier-nvidia.conf": "blacklist nouveau\n"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mismatch", {"loaded_version": "580.173.02", "library_version": "580.178.04",
                      "smi_status": 18}),
        ("other_kernel", {"module_kernels": frozenset({"6.1.0-56-amd64"}), "disk_version": "",
                          "smi_status": 9}),
        ("debian_proprietary", {"loaded_flavour": "proprietary", "disk_flavour": "proprietary",
                                "loaded_version": "535.309.01"}),
        ("off_the_bus", {"smi_status": 15, "xids": (
            "Xid (PCI:0000:19:00): 79, pid=1234, GPU has fallen off the bus.",
            "GPU 0000:19:00.0: GPU has fallen off the bus.")}),
    ],
)  # fmt: skip
def test_states_of_the_driver(name: str, expected: dict[str, Any]) -> None:
    found = read(name).nvidia
    assert {field: getattr(found, field) for field in expected} == expected


def test_a_specification_of_nvidias_own_tool() -> None:
    """Lines of what nvidia-ctk 1.20.1 writes for two cards (tests/e2e/test_drivers_cdi.py)."""
    lines = [
        *("@cdi", "kind: nvidia.com/gpu", '    - name: "0"', '    - name: "1"'),
        *("    - name: GPU-00000000-0000-0000-0000-000000000000", "    - name: all"),
        "        - hostPath: /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.178.04",
        "          containerPath: /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.178.04",
    ]
    toolkit = Drivers().process(lines).toolkit
    assert toolkit.version == ""
    built = ["@toolkit", "NVIDIA Container Toolkit CLI version unknown"]
    assert Drivers().process(built).toolkit.version == "unknown"
    uuid = "nvidia.com/gpu=GPU-00000000-0000-0000-0000-000000000000"
    assert toolkit.devices == ("nvidia.com/gpu=0", "nvidia.com/gpu=1", uuid, "nvidia.com/gpu=all")
    assert toolkit.specification_version == "580.178.04"


def test_nouveau() -> None:
    assert read("nouveau").loaded == {"nouveau"}


def test_no_card() -> None:
    assert read("no_card").nvidia_cards == ()


def test_a_build_that_failed() -> None:
    found = read("failed_build")
    states = {
        name: (package.is_whole, package.is_broken) for name, package in found.packages.items()
    }
    assert states == {
        "nvidia-open-kernel-dkms": (False, True),
        "nvidia-driver": (False, True),
        "dkms": (True, False),
    }
    assert "too few arguments to function 'pci_resize_resource'" in found.dkms_errors[0]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["SecureBoot enabled"], True),
        (["SecureBoot disabled"], False),
        (["BIOS"], False),
        (["   6   0   0   0   1"], True),
        (["   6   0   0   0   0"], False),
        ([], None),
        (["EFI variables are not supported on this system"], None),
    ],
)
def test_secure_boot(lines: list[str], expected: bool | None) -> None:
    assert Drivers().process(["@secure_boot", *lines]).secure_boot is expected


def test_locked_versions_of_rpm() -> None:
    found = read("rocky")
    assert found.holds == {"nvidia-driver-cuda", "kmod-nvidia-open-dkms"}
    assert found.packages["nvidia-driver-cuda"].is_whole
    # headers of one kernel, by the name that dnf installs them by
    assert found.packages[f"kernel-devel-{found.kernel}"].is_whole
    assert found.packages["nvidia-driver-cuda"].version == "580.178.04"


def test_amd() -> None:
    found = read("amd")
    assert found.amd == Amd(
        has_kfd=True,
        gfx=("gfx942",),
        groups=frozenset({992}),
        loaded_version="6.16.13",
        disk_version="6.16.13",
        module_kernels=frozenset({"6.12.48+deb13-amd64"}),
    )
    assert found.usr_free_bytes == 9412345 * 1024
    assert found.packages["amdgpu-dkms"].is_whole
    # the group that will own the devices, before they are there
    assert read("amd_without_firmware").amd == Amd(
        missing_firmware=("amdgpu/psp_13_0_0_sos.bin",), groups=frozenset({105})
    )
    assert not Drivers().process(["@amdgpu", "loaded ", "disk "]).amd.has_own_module
    line = "gfx_target_version 110000"
    assert Drivers().process(["@gfx", line]).amd.gfx == ("gfx1100",)


def test_nothing_was_said() -> None:
    assert Drivers().process([]) == DriverState()


def look(tools: Path, **programs: str) -> DriverState:
    """Look at this machine, with some of its programs replaced."""
    for name, text in programs.items():
        tool = tools / name.replace("_", "-")
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
    result = subprocess.run(
        ["/bin/sh", "-c", Drivers().command()],
        env={"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return Drivers().process(result.stdout.splitlines())


CARD = "echo '0000:19:00.0 3D controller [0302]: NVIDIA Corporation GH100 [10de:2330] (rev a1)'"
SMI = """case "$*" in -L) echo "No devices were found"; exit 6 ;; *) exit 2 ;; esac"""
JOURNAL = "echo 'NVRM: Xid (PCI:0000:19:00): 79, pid=0, GPU has fallen off the bus.'"
MODINFO = """case "$*" in "-F version nvidia-current") echo 535.309.01 ;;
"-F license nvidia-current") echo NVIDIA ;; *) echo "not found" >&2; exit 1 ;; esac"""


def test_the_look_asks_tools_only_where_something_is_wrong(tmp_path: Path) -> None:
    found = look(
        tmp_path, lspci=CARD, nvidia_smi=SMI, journalctl=JOURNAL, modinfo=MODINFO, dkms="exit 3"
    )
    assert found.nvidia.smi_status == 6
    assert found.nvidia.smi_said == "No devices were found"
    assert len(found.nvidia.xids) == 1
    # Debian's own packages rename the module
    assert (found.nvidia.disk_version, found.nvidia.disk_flavour) == ("535.309.01", "proprietary")
    works = look(tmp_path, lspci=CARD, nvidia_smi="echo 'GPU 0: H100'", journalctl="touch $0.asked")
    assert works.nvidia.smi_status == 0
    assert not list(tmp_path.glob("*.asked"))


def test_the_look_without_cards_asks_nothing_of_them(tmp_path: Path) -> None:
    found = look(
        tmp_path, lspci="exit 1", nvidia_smi="touch $0.asked", modinfo="touch $0.asked",
        dkms="touch $0.asked", journalctl="touch $0.asked",
    )  # fmt: skip
    assert found.nvidia == Nvidia()
    assert not list(tmp_path.glob("*.asked"))
