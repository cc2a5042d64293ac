"""The GPU of a Mac at work, from what ioreg prints.

The shape of it, from a Mac with an M4: "model", "gpu-core-count" and "PerformanceStatistics" of
IOAccelerator, and of each client its process and what the GPU did for it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.live.card import CardUser
from deploy.live.gpus import read_cards
from deploy.spec import HostSpec
from tests.cli.run import run

HERE = HostSpec(name="@local")
GPU = """+-o AGXAcceleratorG15D  <class AGXAcceleratorG15D, id 0x1000003f5, registered, matched>
    {
      "IOReportLegend" = ({"IOReportChannels"=((1,2,"In use system memory"))})
      "PerformanceStatistics" = {"In use system memory (driver)"=0,"Alloc system memory"=19,\
"Tiler Utilization %"=12,"recoveryCount"=0,"Device Utilization %"=87,"Renderer Utilization %"=85,\
"In use system memory"=85899345920}
      "model" = "Apple M3 Ultra"
      "gpu-core-count" = 80
    }
"""
CLIENTS = """+-o AGXDeviceUserClient  <class AGXDeviceUserClient, id 0x10000b4a1, !registered>
    {
      "IOUserClientCreator" = "pid 587, WindowServer"
      "AppUsage" = ()
    }
+-o AGXDeviceUserClient  <class AGXDeviceUserClient, id 0x10000c5f3, !registered>
    {
      "AppUsage" = ({"API"=Metal,"accumulatedGPUTime"=123632000000},{"accumulatedGPUTime"=0})
      "IOUserClientCreator" = "pid 912, llama-server"
    }
+-o AGXDeviceUserClient  <class AGXDeviceUserClient, id 0x10000c5f4, !registered>
    {
      "AppUsage" = ({"API"=Metal,"accumulatedGPUTime"=77})
      "IOUserClientCreator" = "pid 912, llama-server"
    }
"""
TOOLS = {
    "ioreg": f"""case "$*" in
"-r -d 1 -w 0 -c IOAccelerator") cat <<'end'
{GPU}end
;;
"-r -d 1 -w 0 -c AGXDeviceUserClient") cat <<'end'
{CLIENTS}end
;;
*) exit 64 ;;
esac""",
    "sysctl": """case "$*" in
"-n hw.memsize") echo 274877906944 ;;
"-n iogpu.wired_limit_mb") cat limit ;;
*) exit 64 ;;
esac""",
    "sw_vers": "[ $1 = -productVersion ] && echo 15.6",
}


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in TOOLS.items():
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{text.replace('cat limit', f'cat {tmp_path}/limit')}\n")
        tool.chmod(0o755)
    (tmp_path / "limit").write_text("0\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_its_gpu(mac: Path) -> None:
    (gpu,) = read_cards(HERE)
    assert (gpu.vendor, gpu.name) == ("apple", "Apple M3 Ultra, 80 cores")
    assert gpu.driver_version == "macOS 15.6"
    assert (gpu.memory_used_mib, gpu.memory_mib) == (80 * 1024, 256 * 1024)
    assert gpu.utilization_percent == 87
    assert (gpu.temperature_celsius, gpu.power_watts, gpu.power_limit_watts) == (None, None, None)


def test_a_limit_that_is_set(mac: Path) -> None:
    (mac / "limit").write_text("245760\n")
    (gpu,) = read_cards(HERE)
    assert gpu.memory_mib == 245760


def test_who_uses_it(mac: Path) -> None:
    """Those that it has worked for, each once; what memory they have is not told."""
    (gpu,) = read_cards(HERE)
    assert gpu.users == (CardUser(912, "llama-server", "", None),)


def test_the_command(mac: Path) -> None:
    """A Mac is asked as any host, and what is not told is said."""
    inventory = mac / "lab.yaml"
    inventory.write_text("name: lab\nhosts: [{name: '@local'}]\nmodels: [{name: tiny-coder}]\n")
    said = " ".join(run("gpus", str(inventory), "--host", "@local").split())
    for word in ("0: Apple M3 Ultra", "80.0 / 256.0", "llama-server (912)", "- / -"):
        assert word in said, said
    assert "tells temperature and power of its GPU to root only" in said
