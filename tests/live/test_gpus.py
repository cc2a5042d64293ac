"""Cards at work, from what an nvidia-smi prints that refuses what it does not know."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.errors import HostError
from deploy.live.card import CardUser
from deploy.live.gpus import parse_cards, read_cards
from deploy.live.nvidia_cards import CARD, PROCESS
from deploy.spec import HostSpec
from tests.cli.run import run

UUID = "GPU-0b1d2c3e-7a44-4c1b-9d2e-8c7b6a5f4e22"
SMI = f"""#!/bin/sh
case "$*" in
"--query-gpu={",".join(CARD)} --format=csv,noheader,nounits")
  echo "0, {UUID}, NVIDIA H100 80GB HBM3, 580.178.04, 71234, 81559, 61, 412.53, 700.00, 97"
  echo "1, GPU-1, NVIDIA GB10, 580.178.04, [N/A], [N/A], 45, [N/A], [N/A], 0" ;;
"--query-compute-apps={",".join(PROCESS)} --format=csv,noheader,nounits")
  echo "{UUID}, $PPID, 70210, /usr/bin/python3" ;;
*) echo "ERROR: Option $* is not recognized."; exit 2 ;;
esac
"""
HERE = HostSpec(name="@local", gpus=("1x h100",))


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(SMI)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tool


def test_cards_and_who_uses_them(smi: Path) -> None:
    first, second = read_cards(HERE)
    assert (first.name, first.driver_version) == ("NVIDIA H100 80GB HBM3", "580.178.04")
    assert (first.memory_used_mib, first.memory_mib, first.temperature_celsius) == (
        71234,
        81559,
        61,
    )
    assert (first.power_watts, first.power_limit_watts, first.utilization_percent) == (
        *(412.53, 700.0, 97),
    )
    (user,) = first.users
    assert (user.name, user.memory_mib) == ("/usr/bin/python3", 70210)
    # memory that is the machine's
    assert (second.memory_mib, second.power_watts, second.users) == (None, None, ())


def test_processes_of_containers() -> None:
    (card,) = parse_cards(
        f"@nvidia\n0, {UUID}, H100, 580.1, 1, 2, 3, 4, 5, 6\n@nvidia_processes\n"
        f"{UUID}, 4711, [N/A], VLLM::Worker, TP0, /lab-vllm-chat-0\n"
    )
    assert card.users == (CardUser(4711, "VLLM::Worker, TP0", "lab-vllm-chat-0", None),)


def test_a_driver_that_does_not_answer(smi: Path) -> None:
    smi.write_text("#!/bin/sh\necho No devices were found\nexit 6\n")
    with pytest.raises(HostError) as refused:
        read_cards(HERE)
    assert "GPUs: No devices were found" in str(refused.value)
    assert "atelier doctor" in str(refused.value)


def test_a_host_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match="neither nvidia-smi nor a card of amdgpu is there"):
        read_cards(HERE)


def test_the_command(smi: Path, tmp_path: Path) -> None:
    inventory = tmp_path / "lab.yaml"
    inventory.write_text(
        "name: lab\nhosts: [{name: '@local', gpus: 1x h100}]\nmodels: [{name: tiny-coder}]\n"
    )
    said = run("gpus", str(inventory))
    for word in ("0: NVIDIA H100", "69.6 / 79.6", "413 / 700", "driver 580.178.04"):
        assert word in " ".join(said.split()), said
    assert '"temperature_celsius": 61.0' in run("gpus", str(inventory), "--json")
    assert "no inventory to look" in run("gpus", "--host", "h1", stream="stderr", status=1)
