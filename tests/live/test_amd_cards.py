"""AMD's cards at work, from a tree of files as the kernel has it.

Names and units of the files: https://docs.kernel.org/gpu/amdgpu/driver-misc.html and thermal.html
next to it. The topology of the MI210 is that of a real one:
https://github.com/ROCm/k8s-device-plugin/tree/master/testdata/topo-mi210-xgmi-pcie/nodes/2
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from deploy.errors import HostError
from deploy.live import gpus
from deploy.live.card import CardUser, LiveCard
from deploy.live.gpus import read_cards
from deploy.scripts import read_script
from deploy.spec import HostSpec
from tests.cli.run import run

HERE = HostSpec(name="@local", gpus=("1x mi210",))
GIB = 1024**3
CONTAINER = "a" * 64
MI210, XTX, HALO = "0000:63:00.0", "0000:03:00.0", "0000:c4:00.0"
CARDS = {
    MI210: {
        "device": "0x740f", "mem_info_vram_total": 64 * GIB, "mem_info_vram_used": 41 * GIB,
        "mem_info_gtt_used": GIB, "gpu_busy_percent": 93,
        "hwmon/hwmon3/temp1_label": "junction", "hwmon/hwmon3/temp1_input": 71000,
        "hwmon/hwmon3/temp2_label": "mem", "hwmon/hwmon3/temp2_input": 64000,
        "hwmon/hwmon3/power1_average": 212000000, "hwmon/hwmon3/power1_cap": 300000000,
    },
    XTX: {
        "device": "0x744c", "mem_info_vram_total": 24560 * 1024**2, "mem_info_vram_used": 2 * GIB,
        "gpu_busy_percent": 4,
        "hwmon/hwmon1/temp1_label": "junction", "hwmon/hwmon1/temp1_input": 66000,
        "hwmon/hwmon1/temp2_label": "edge", "hwmon/hwmon1/temp2_input": 49000,
        "hwmon/hwmon1/power1_input": 31500000, "hwmon/hwmon1/power1_cap": 339000000,
    },
    HALO: {
        "device": "0x1586", "mem_info_vram_total": GIB // 2, "mem_info_vram_used": GIB // 4,
        "mem_info_gtt_total": 120 * GIB, "mem_info_gtt_used": 60 * GIB,
    },
}  # fmt: skip
NODES = {
    0: ("0", "cpu_cores_count 64\nlocation_id 0\ndomain 0\n"),
    1: ("50123", "gfx_target_version 110000\nlocation_id 768\ndomain 0\ndrm_render_minor 129\n"),
    2: ("64241", "gfx_target_version 90010\nvendor_id 4098\ndevice_id 29711\n"
                 "location_id 25344\ndomain 0\ndrm_render_minor 128\n"),
}  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the host has below /sys and /proc."""
    for address, files in CARDS.items():
        for name, value in files.items():
            write(tmp_path / f"sys/bus/pci/devices/{address}/{name}", f"{value}\n")
    # another maker's
    write(tmp_path / "sys/bus/pci/devices/0000:00:02.0/device", "0x3e98\n")
    for number, (gpu, properties) in NODES.items():
        node = tmp_path / f"sys/class/kfd/kfd/topology/nodes/{number}"
        write(node / "gpu_id", f"{gpu}\n")
        write(node / "properties", properties)
    process(tmp_path, 4711, "VLLM::Worker_TP0\0--x\0", {"vram_64241": 30 * GIB, "vram_50123": 0})
    write(tmp_path / "proc/4711/cgroup", f"0::/system.slice/docker-{CONTAINER}.scope\n")
    process(tmp_path, 4712, "/opt/train\0", {"context_1/vram_64241": GIB, "vram_64241": GIB})
    tools = tmp_path / "bin"
    write(tools / "docker", f"#!/bin/sh\n[ $5 = {CONTAINER} ] && echo /lab-vllm-chat-0\n")
    write(tools / "uname", "#!/bin/sh\necho 6.12.48+deb13-amd64\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    script = read_script(gpus.SCRIPT)
    script = re.sub(r"(?<![\w*])/(sys|proc)/", rf"{tmp_path}/\1/", script)
    monkeypatch.setattr(gpus, "read_script", lambda _name: script)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def process(tree: Path, pid: int, cmdline: str, files: dict[str, int]) -> None:
    write(tree / f"proc/{pid}/cmdline", cmdline)
    for name, value in files.items():
        write(tree / f"sys/class/kfd/kfd/proc/{pid}/{name}", f"{value}\n")


def cards() -> dict[str, LiveCard]:
    return dict(zip((XTX, MI210, HALO), read_cards(HERE), strict=True))


def test_cards_in_the_order_of_the_bus(tree: Path) -> None:
    assert [(card.vendor, card.index, card.name) for card in cards().values()] == [
        ("amd", 0, "Radeon RX 7900 XTX"),
        ("amd", 1, "Instinct MI210"),
        ("amd", 2, "Ryzen AI Max+ 395 (Strix Halo, 128 GB)"),
    ]


def test_figures(tree: Path) -> None:
    found = cards()[MI210]
    assert (found.memory_used_mib, found.memory_mib) == (41 * 1024, 64 * 1024)
    # it has no edge
    assert found.temperature_celsius == 71
    assert (found.power_watts, found.power_limit_watts) == (212, 300)
    assert found.utilization_percent == 93
    radeon = cards()[XTX]
    assert (radeon.temperature_celsius, radeon.power_watts) == (49, 31.5)


def test_memory_that_is_the_processors(tree: Path) -> None:
    """What the firmware set aside, and what the driver may take of the rest."""
    found = cards()[HALO]
    assert (found.memory_used_mib, found.memory_mib) == (60.25 * 1024, 120.5 * 1024)
    assert (found.temperature_celsius, found.power_watts, found.utilization_percent) == (None,) * 3


def test_the_driver(tree: Path) -> None:
    assert {card.driver_version for card in cards().values()} == {"kernel 6.12.48+deb13-amd64"}
    write(tree / "sys/module/amdgpu/version", "6.16.13\n")
    assert {card.driver_version for card in cards().values()} == {"6.16.13"}


def test_who_uses_them(tree: Path) -> None:
    assert cards()[MI210].users == (
        CardUser(4711, "VLLM::Worker_TP0", "lab-vllm-chat-0", 30 * 1024),
        # two contexts of the compute driver
        CardUser(4712, "/opt/train", "", 2 * 1024),
    )
    # it could use this one, and has nothing there
    assert cards()[XTX].users == ()


def test_programs_that_use_vulkan(tree: Path) -> None:
    """The compute driver does not know them; two files of a client are one."""
    text = f"drm-driver:\tamdgpu\ndrm-client-id:\t7\ndrm-pdev:\t{XTX}\ndrm-memory-vram:\t512 KiB\n"
    for number in (5, 6):
        write(tree / f"proc/4720/fdinfo/{number}", text)
    write(tree / "proc/4720/fdinfo/7", text.replace("\t7\n", "\t9\n").replace("512 K", "3 M"))
    write(tree / "proc/4720/fdinfo/8", text.replace("amdgpu", "i915"))
    write(tree / "proc/4720/cmdline", "llama-server\0")
    # what the compute driver counts is not counted again
    write(tree / "proc/4711/fdinfo/9", text.replace(XTX, MI210))
    assert cards()[XTX].users == (CardUser(4720, "llama-server", "", 3.5),)
    assert cards()[MI210].users[0].memory_mib == 30 * 1024


def test_a_partition_is_its_cards(tree: Path) -> None:
    """In newer kernels its number is in the highest bits, in older ones in the lowest."""
    for number, location in ((3, 25344 | 1 << 28), (4, 25344 | 2)):
        node = tree / f"sys/class/kfd/kfd/topology/nodes/{number}"
        write(node / "gpu_id", f"{number}00\n")
        write(node / "properties", f"location_id {location}\ndomain 0\n")
    process(tree, 4712, "/opt/train\0", {"vram_300": GIB, "vram_400": GIB})
    assert cards()[MI210].users[1].memory_mib == 4 * 1024


def test_a_card_that_is_no_first_function(tree: Path) -> None:
    """Of a card that is shared by virtual machines."""
    place = tree / "sys/bus/pci/devices"
    (place / MI210).rename(place / "0000:63:00.2")
    write(tree / "sys/class/kfd/kfd/topology/nodes/2/properties", "location_id 25346\ndomain 0\n")
    assert [user.pid for user in cards()[MI210].users] == [4711, 4712]


def test_a_card_that_nobody_knows(tree: Path) -> None:
    place = tree / f"sys/bus/pci/devices/{MI210}"
    write(place / "device", "0xabcd\n")
    assert cards()[MI210].name == "PCI 1002:abcd"
    write(place / "product_name", "AMD Instinct of tomorrow\n")
    assert cards()[MI210].name == "AMD Instinct of tomorrow"


def test_a_smaller_card_with_the_same_id(tree: Path) -> None:
    """A 7900 XT is one."""
    write(tree / f"sys/bus/pci/devices/{XTX}/mem_info_vram_total", f"{20 * GIB}\n")
    assert cards()[XTX].name == "PCI 1002:744c"


def test_a_processors_own_graphics(tree: Path) -> None:
    """Of no name and used by nothing: left out, and no host's only card."""
    for address in CARDS:
        write(tree / f"sys/bus/pci/devices/{address}/device", "0x164e\n")
    assert [card.name for card in read_cards(HERE)] == ["PCI 1002:164e"]
    for gpu in (tree / "sys/class/kfd/kfd/proc").glob("*/**/vram_*"):
        gpu.write_text("0\n")
    with pytest.raises(HostError, match="a processor's own graphics alone, or no card"):
        read_cards(HERE)


def test_no_card(tree: Path) -> None:
    for address in CARDS:
        (tree / f"sys/bus/pci/devices/{address}/mem_info_vram_total").unlink()
    with pytest.raises(HostError, match="neither nvidia-smi nor a card of amdgpu is there"):
        read_cards(HERE)


def test_the_command(tree: Path) -> None:
    inventory = tree / "lab.yaml"
    inventory.write_text(
        "name: lab\nhosts: [{name: '@local', gpus: [1x rx-7900-xtx, 1x mi210]}]\n"
        "models: [{name: tiny-coder}]\n"
    )
    said = " ".join(run("gpus", str(inventory)).split())
    for word in ("1: Instinct MI210", "41.0 / 64.0", "212 / 300", "driver kernel 6.12.48"):
        assert word in said, said
    assert '"vendor": "amd"' in run("gpus", str(inventory), "--json")
