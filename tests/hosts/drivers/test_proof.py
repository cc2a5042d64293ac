"""What a container of an engine's image must see of a host's cards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import HostError
from deploy.hosts.drivers.proof import Proof, proofs
from deploy.hosts.drivers.state import Amd, DriverState, Nvidia, Toolkit
from deploy.hosts.state import Gpu, GpuState
from tests.services.test_gpu_engines import CHAT, made

DRIVER = "580.178.04"
CARDS = tuple(Gpu("nvidia", "NVIDIA L40S", 46068, f"GPU-{number}") for number in (1, 0))
FOUND = GpuState(gpus=CARDS, driver_version=DRIVER, driver_status=0)
STATE = DriverState(nvidia=Nvidia(loaded_version=DRIVER), toolkit=Toolkit(version="1.20.0"))


def of(directory: Path, **settings: Any) -> list[Proof]:
    return list(proofs(made(directory, **settings).stack.units))


def host(**settings: Any) -> list[dict[str, Any]]:
    return [{"name": "gpu1", "gpus": "2x l40s", "driver": {}} | settings]


def test_all_cards_of_an_image_in_one_container(tmp_path: Path) -> None:
    """Two replicas, a card each: one question."""
    (proof,) = of(tmp_path, hosts=host(gpus="2x h100"), models=[CHAT | {"replicas": 2}])
    assert proof.image.startswith("docker.io/vllm/vllm-openai:")
    assert (proof.vendor, proof.cards) == ("nvidia", (0, 1))
    text = " ".join(proof.access)
    assert "--device nvidia.com/gpu=0 --device nvidia.com/gpu=1" in text
    assert "--cap-drop ALL --security-opt no-new-privileges" in text
    # what a container that lists cards has no use for
    assert "memlock" not in text
    assert "shm" not in text


def test_by_the_hook(tmp_path: Path) -> None:
    (proof,) = of(tmp_path, hosts=host(gpu_runtime="nvidia"))
    assert proof.access[:2] == ("--gpus", '"device=0,1"')


def test_without_cards_there_is_nothing_to_prove(tmp_path: Path) -> None:
    cpu = [{"name": "cpu1"}]
    assert of(tmp_path, hosts=cpu, engine={}, models=[{"name": "tiny-coder"}]) == []


def test_count_memory_and_driver_are_expected(tmp_path: Path) -> None:
    (proof,) = of(tmp_path, hosts=host())
    assert proof.question(FOUND) == "uuid,name,memory.total,driver_version"
    assert proof.expected(FOUND, STATE).splitlines() == [
        f"GPU-0, NVIDIA L40S, 46068, {DRIVER}",
        f"GPU-1, NVIDIA L40S, 46068, {DRIVER}",
    ]
    split = replace(FOUND, gpus=tuple(replace(card, mig=True) for card in CARDS))
    assert proof.question(split) == "uuid,name,driver_version"
    assert "46068" not in proof.expected(split, STATE)


def test_a_card_that_the_host_itself_has_not(tmp_path: Path) -> None:
    (proof,) = of(tmp_path, hosts=host())
    with pytest.raises(HostError) as refused:
        proof.expected(replace(FOUND, gpus=CARDS[:1]), STATE)
    assert "nvidia-smi lists 1 cards: NVIDIA L40S" in str(refused.value)
    assert "nvidia.com/gpu=1" in str(refused.value)
    assert "fix: " in str(refused.value)


def test_amd(tmp_path: Path) -> None:
    hosts = [{"name": "gpu1", "gpus": "2x mi300x", "gpu_groups": [44, 992], "driver": {}}]
    (proof,) = of(tmp_path, hosts=hosts, models=[CHAT | {"replicas": 2}])
    assert (proof.vendor, proof.cards, proof.question(FOUND)) == ("amd", (), "")
    assert proof.access[:8] == (
        *("--device", "/dev/kfd", "--device", "/dev/dri"),
        *("--group-add", "44", "--group-add", "992"),
    )
    state = replace(STATE, amd=Amd(has_kfd=True, gfx=("gfx942", "gfx90a")))
    assert proof.expected(FOUND, state) == "gfx90a\ngfx942"
    with pytest.raises(HostError, match="names no card"):
        proof.expected(FOUND, STATE)


def test_what_makes_it_due_again(tmp_path: Path) -> None:
    (proof,) = of(tmp_path, hosts=host())
    (hook,) = of(tmp_path, hosts=host(gpu_runtime="nvidia"))
    first = proof.key(FOUND, STATE, "28.5.2")
    assert first == proof.key(FOUND, STATE, "28.5.2")
    newer = replace(STATE, nvidia=Nvidia(loaded_version="580.180.01"))
    others = {
        hook.key(FOUND, STATE, "28.5.2"),
        proof.key(FOUND, STATE, "29.0.0"),
        proof.key(FOUND, newer, "28.5.2"),
        proof.key(FOUND, replace(STATE, toolkit=Toolkit(version="1.21.0")), "28.5.2"),
        proof.key(replace(FOUND, gpus=CARDS[:1]), STATE, "28.5.2"),
        replace(proof, image="vllm/vllm-openai:other").key(FOUND, STATE, "28.5.2"),
    }
    assert first not in others
    assert len(others) == 6
