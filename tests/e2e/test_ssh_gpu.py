"""A host whose GPU two engines share; the GPU is not there, and as exclusive as one that is.

Asserted on the host itself, past SSH and past Atelier, and through the router.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.e2e import fake_gpu, fake_vllm
from tests.e2e.hosts import Host
from tests.e2e.names import host_name
from tests.e2e.registry import Registry
from tests.e2e.remote import run_gpu_site
from tests.e2e.site import MASTER_KEY, START_TIMEOUT_SECONDS, Settings, Site

NAME = host_name("gpu")
CODER, CHAT = "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"
CODER_UNIT = f"e2e-vllm-{CODER}-0"
NO_CARDS = {"FAKE_GPUS": "/dev/null/none"}
"""Makes the stand-in crash."""


@dataclass
class GpuBox:
    """The host and what is deployed there."""

    site: Site
    host: Host
    base: Settings

    def shares(self) -> list[float]:
        """What running engines hold of the first card."""
        return sorted(fake_gpu.used(self.host).get(0, {}).values())

    def ask(self, model: str) -> str:
        reply = httpx.post(
            f"http://{self.host.address}:4000/v1/completions",
            headers={"Authorization": f"Bearer {MASTER_KEY}"},
            json={"model": model, "prompt": "def fib(n):", "max_tokens": 60},
            timeout=START_TIMEOUT_SECONDS,
        )
        reply.raise_for_status()
        return str(reply.json()["choices"][0]["text"])


@pytest.fixture(scope="module")
def box(
    tmp_path_factory: pytest.TempPathFactory, everywhere: Registry, pulled: Settings
) -> Iterator[GpuBox]:
    images = {"litellm": pulled["litellm"], "vllm": everywhere.publish(fake_vllm.build())}
    with run_gpu_site(tmp_path_factory.mktemp("gpu"), NAME, images) as (site, host):
        yield GpuBox(site, host, site.settings)


def declare(box: GpuBox, **shares: float) -> None:
    names = {"coder": CODER, "chat": CHAT}
    models = [{"name": names[name], "gpus": share} for name, share in shares.items()]
    box.site.write(box.base | {"models": models})


def test_two_engines_share_a_gpu(box: GpuBox) -> None:
    declare(box, coder=0.4, chat=0.5)
    planned = box.site.apply()
    image = box.base["images"]["vllm"]["reference"]
    proof = ("prove", f"the cards in a container of {image}")
    assert planned.steps.index(proof) < planned.steps.index(("create", f"container {CODER_UNIT}"))
    assert box.shares() == [0.4, 0.5]
    for model in (CODER, CHAT):
        assert box.ask(model).startswith("    if n < 2:")
    status = box.site.atelier("check", "--json")
    assert status.returncode == 0, status.stdout + status.stderr


def test_an_engine_too_many_does_not_start(box: GpuBox) -> None:
    """The card is exclusive, however many containers want it."""
    image = box.base["images"]["vllm"]["reference"]
    arguments = f"--gpus '\"device=0\"' {image} org/model --gpu-memory-utilization 0.2"
    said = box.host.run(f"timeout 60 docker run --rm {arguments} 2>&1; echo status $?")
    assert "Free memory on device cuda:0" in said
    assert said.endswith("status 1")
    assert box.shares() == [0.4, 0.5]


def test_cards_that_a_container_does_not_see_end_the_run(box: GpuBox) -> None:
    """Another driver inside than on the host: no engine is touched."""
    record = "/var/lib/atelier/deployments/e2e/proven-gpus"
    lie = "case $(ls -d /fake-gpus 2>/dev/null) in ?*) echo GPU-0, other; exit ;; esac"
    box.host.run(
        f"rm {record}; cp /usr/bin/nvidia-smi /root/; sed -i '2i {lie}' /usr/bin/nvidia-smi"
    )
    result = box.site.deploy()
    box.host.run("cp /root/nvidia-smi /usr/bin/nvidia-smi")
    assert result.status == 1
    assert "does not see the cards as the host does" in result.output
    assert "    GPU-0, other" in result.output
    assert "NVIDIA L40S, 46068, 580.178.04" in result.output
    assert box.shares() == [0.4, 0.5]
    assert box.host.run(f"ls {record}", check=False) == ""
    assert [action for action, _ in box.site.deploy().steps] == ["prove"]


def test_health_asks_the_driver(box: GpuBox) -> None:
    """What a reload of systemd takes from a container, its health check finds."""
    shown = f"docker inspect -f '{{{{index .Config.Healthcheck.Test 1}}}}' {CODER_UNIT}"
    check = f'docker exec {CODER_UNIT} sh -c "$({shown})" 2>&1; echo status $?'
    assert box.host.run(check) == "status 0"
    fake_gpu.lose_cards(box.host, CODER_UNIT)
    said = box.host.run(check).splitlines()
    assert said[-1] == "status 1"
    assert said[-2].startswith("no GPU: the container may not open /dev/nvidiactl any more")
    box.host.run(f"docker restart {CODER_UNIT}")
    assert box.host.run(f'docker exec {CODER_UNIT} sh -c "true </dev/nvidiactl"; echo $?') == "0"


# each of these is planned by a dry run, made by the run, and nothing is left for the third one


def test_a_model_that_goes_leaves_its_share_to_the_other(box: GpuBox) -> None:
    """0.75 and 0.15 of a card; 0.9 does not start before both are stopped."""
    declare(box, coder=0.75, chat=0.15)
    box.site.apply()
    assert box.shares() == [0.15, 0.75]
    declare(box, coder=0.9)
    planned = box.site.apply()
    assert {
        ("remove", f"container e2e-vllm-{CHAT}-0"),
        ("recreate", f"container {CODER_UNIT}"),
    } <= (planned.announced)
    assert box.shares() == [0.9]
    assert box.ask(CODER).startswith("    if n < 2:")


def test_a_model_is_swapped_for_another_on_a_full_card(box: GpuBox) -> None:
    declare(box, chat=0.9)
    box.site.apply()
    assert box.shares() == [0.9]
    assert box.ask(CHAT).startswith("    if n < 2:")


def test_a_model_that_does_not_start_gives_its_place_back(box: GpuBox) -> None:
    """The one that was there before serves again, though the plan no longer has it."""
    broken = {"name": CODER, "gpus": 0.9, "engine": {"kind": "vllm", "env": NO_CARDS}}
    box.site.write(box.base | {"models": [broken]})
    result = box.site.deploy()
    assert result.status == 1
    assert f"e2e-vllm-{CHAT}-0: the container before it serves again" in result.output
    assert box.shares() == [0.9]
    assert box.ask(CHAT).startswith("    if n < 2:")


def test_a_model_that_comes_makes_the_other_one_shrink(box: GpuBox) -> None:
    declare(box, chat=0.5, coder=0.4)
    box.site.apply()
    assert box.shares() == [0.4, 0.5]
    for model in (CODER, CHAT):
        assert box.ask(model).startswith("    if n < 2:")
