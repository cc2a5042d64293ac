"""GPUs and drivers, from outputs that were published."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.facts.gpus import Gpus
from deploy.hosts.state import Gpu, GpuState, PciGpu

FIXTURES = Path(__file__).parent / "fixtures" / "gpus"


def read(name: str) -> GpuState:
    return Gpus().process((FIXTURES / f"{name}.txt").read_text().splitlines())


def test_two_cards() -> None:
    found = read("nvidia_two_geforce")
    assert [(gpu.name, gpu.memory_mib, gpu.mig, gpu.ecc) for gpu in found.gpus] == [
        ("NVIDIA GeForce RTX 5060 Ti", 16311, False, None),
        ("NVIDIA GeForce RTX 5060", 8151, False, None),
    ]
    assert (found.driver_version, found.cuda_version) == ("580.173.02", "13.0")
    assert found.driver_error == ""
    assert found.pci[0] == PciGpu("0000:01:00.0", "nvidia", "2d04", "NVIDIA Corporation Device")


def test_instances_belong_to_their_gpu() -> None:
    split, whole = read("nvidia_mig").gpus
    assert (split.mig, split.ecc, split.mig_instances) == (True, True, ("1g.20gb",) * 4)
    assert (whole.mig, whole.ecc, whole.mig_instances) == (False, True, ())
    assert whole.address == "00000000:0f:00.0"


def test_memory_that_is_the_machines() -> None:
    found = read("nvidia_unified_memory")
    assert [(gpu.name, gpu.memory_mib) for gpu in found.gpus] == [("NVIDIA GB10", None)]
    assert found.cuda_version == "13.3"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("nvidia_failed", "NVIDIA-SMI has failed because it couldn't communicate with"),
        ("nvidia_mismatch", "Failed to initialize NVML: Driver/library version mismatch NVML"),
    ],
)
def test_a_driver_that_does_not_answer(name: str, error: str) -> None:
    found = read(name)
    assert found.driver_error.startswith(error)
    assert (found.gpus, found.driver_version, found.cuda_version) == ((), "", "")
    assert [(gpu.vendor, gpu.name) for gpu in found.pci] == [
        ("nvidia", "NVIDIA Corporation GH100 [H100 PCIe]")
    ]


def test_amd_smi() -> None:
    found = read("amd_smi")
    assert found.gpus == (Gpu("amd", "AMD Instinct MI300X", 196592, address="0000:83:00.0"),)
    assert found.driver_version == "6.19.14"
    assert found.pci[0].vendor == "amd"


def test_amd_smi_of_older_releases_prints_the_list_alone() -> None:
    row = '[{"gpu": 0, "asic": {"market_name": "MI300X"}, "vram": {"size": "N/A"}}]'
    assert Gpus().process(["@amd", row]).gpus == (Gpu("amd", "MI300X"),)


def test_rocm_smi() -> None:
    assert read("rocm_smi").gpus == (Gpu("amd", "Radeon RX 7900 XT", 20464),)


def test_amd_without_any_tool_of_rocm() -> None:
    """What amdgpu itself says: https://docs.kernel.org/gpu/amdgpu/driver-misc.html"""
    found = Gpus().process(["@amdgpu", "0000:83:00.0 206141652992"]).gpus
    assert found == (Gpu("amd", "", 196592, address="0000:83:00.0"),)
    assert Gpus().process(["@amdgpu"]).gpus == ()


def test_a_mac() -> None:
    assert read("mac").gpus == (Gpu("apple", "Apple M3 Pro"),)


def test_without_lspci() -> None:
    assert read("sysfs").pci == (
        PciGpu("0000:00:02.0", "intel", "5917"),
        PciGpu("0000:41:00.0", "nvidia", "2331"),
    )


@pytest.mark.parametrize("output", ["", "not JSON", "WARNING: no GPU\n{", "{}", "[]"])
def test_answers_that_are_none(output: str) -> None:
    lines = output.splitlines()
    assert Gpus().process(["@amd", *lines]) == GpuState()
    assert Gpus().process(["@rocm", *lines[:1]]).gpus == ()
    assert Gpus().process(["@mac", *lines]).gpus == ()


def test_the_command_runs_with_no_tool_at_all(tmp_path: Path) -> None:
    for name in ("cat", "grep"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    result = subprocess.run(
        ["/bin/sh", "-c", Gpus().command()],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("@pci\n")


def test_the_command_with_a_tool_that_fails(tmp_path: Path) -> None:
    for name in ("cat", "grep"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho No devices were found\nexit 6\n")
    tool.chmod(0o755)
    result = subprocess.run(
        ["/bin/sh", "-c", Gpus().command()],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0
    found = Gpus().process(result.stdout.splitlines())
    assert (found.gpus, found.driver_error) == ((), "No devices were found")
