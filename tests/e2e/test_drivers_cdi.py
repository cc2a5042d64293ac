"""Cards by CDI, for real but for the cards: NVIDIA's own tools, Docker 28, a whole deployment.

What lies on the host and in containers is asked there, past SSH and past Atelier.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import yaml

from deploy.hosts.daemon_settings import merge, wanted_settings
from deploy.hosts.state import DockerState
from deploy.spec import HostSpec
from tests.e2e import cdi_host, fake_gpu, fake_vllm
from tests.e2e.hosts import Host
from tests.e2e.names import host_name
from tests.e2e.nvidia_tools import DRIVER
from tests.e2e.registry import Registry
from tests.e2e.remote import run_site
from tests.e2e.site import MASTER_KEY, START_TIMEOUT_SECONDS, Settings, Site

NAME = host_name("cdi")
MODEL = "qwen2.5-coder-0.5b"
UNIT = f"e2e-vllm-{MODEL}-0"
DROP_IN = "/etc/systemd/system/docker.service.d/atelier-cdi.conf"
SPECIFICATION = "/var/run/cdi/nvidia.yaml"
UUID = "GPU-00000000-0000-0000-0000-00000000000"


@dataclass
class Box:
    site: Site
    host: Host
    image: str

    def proof(self) -> tuple[str, str]:
        return ("prove", f"the cards in a container of {self.image}")

    def health(self) -> str:
        return self.host.run(f"docker inspect -f '{{{{.State.Health.Status}}}}' {UNIT}")

    def finding(self) -> str:
        """What doctor says of containers and GPUs."""
        findings = json.loads(self.site.atelier("doctor", "--json").stdout)["findings"]
        return "\n".join(row["found"] for row in findings if row["name"] == "GPU containers")

    def wait_until(self, health: str) -> None:
        for _ in range(160):
            if self.health() == health:
                return
            time.sleep(1)
        raise AssertionError(self.host.run(f"docker inspect {UNIT}"))


@pytest.fixture(scope="module")
def box(
    tmp_path_factory: pytest.TempPathFactory, everywhere: Registry, pulled: Settings
) -> Iterator[Box]:
    vllm = everywhere.publish(fake_vllm.build())
    images = {"litellm": pulled["litellm"], "vllm": vllm}
    home, tag = tmp_path_factory.mktemp("cdi"), cdi_host.build_image()
    with run_site(home, {"gpu": NAME}, images, tag) as (site, hosts):
        host = hosts["gpu"]
        cdi_host.add_cards(host, 2)
        cdi_host.add_toolkit(host)
        settings = site.settings
        settings["hosts"][0] |= {"gpus": "2x l40s", "driver": {}}
        settings["engine"] = {
            "kind": "vllm",
            "offline": True,
            "env": {"FAKE_VLLM_ANY_WEIGHTS": "1"},
            "memory_limit": "1GiB",
            "start_timeout_seconds": START_TIMEOUT_SECONDS,
        }
        site.write(settings | {"models": [{"name": MODEL, "gpus": 1}]})
        yield Box(site, host, vllm["reference"])


def configured(host: Host, settings: Settings) -> Settings:
    """What NVIDIA's tool makes of a daemon.json."""
    place = "/tmp/daemon.json"
    host.run(f"cat >{place}", json.dumps(settings))
    host.run(f"nvidia-ctk runtime configure --runtime=docker --config={place} --cdi.enabled 2>&1")
    made: Settings = json.loads(host.run(f"cat {place}"))
    return made


def test_what_nvidia_configures_for_docker_is_what_we_do(box: Box) -> None:
    """Its tool changes nothing of ours, and ours nothing of its; a runtime is not for CDI."""
    runtimes = {"nvidia": {"args": [], "path": "nvidia-container-runtime"}}
    assert configured(box.host, {}) == {"features": {"cdi": True}, "runtimes": runtimes}
    ours = wanted_settings(HostSpec(name="h1"), DockerState(), cdi=True)
    assert ours["features"] == {"cdi": True}
    theirs = configured(box.host, ours)
    assert theirs == ours | {"runtimes": runtimes}
    assert merge(theirs, ours) == theirs


def test_doctor_before(box: Box) -> None:
    assert box.host.run(f"ls {SPECIFICATION} {DROP_IN} 2>/dev/null", check=False) == ""
    found = box.site.atelier("doctor", "--json")
    rows = {row["found"] for row in json.loads(found.stdout)["findings"]}
    assert any("create CDI specification of the GPUs" in row for row in rows), rows


def test_a_container_has_the_card_that_it_is_given(box: Box) -> None:
    planned = box.site.apply()
    assert planned.steps.index(box.proof()) < planned.steps.index(("create", f"container {UNIT}"))
    assert ("create", f"file {DROP_IN}") in planned.announced
    assert ("create", "CDI specification of the GPUs") in planned.announced
    # Docker has it switched on by itself: its daemon.json says nothing
    assert "features" not in json.loads(box.host.run("cat /etc/docker/daemon.json"))
    specification = yaml.safe_load(box.host.run(f"cat {SPECIFICATION}"))
    names = [device["name"] for device in specification["devices"]]
    assert names == ["0", "1", f"{UUID}0", f"{UUID}1", "all"]
    (requested,) = json.loads(
        box.host.run(f"docker inspect -f '{{{{json .HostConfig.DeviceRequests}}}}' {UNIT}")
    )
    assert (requested["Driver"], requested["DeviceIDs"]) == ("cdi", ["nvidia.com/gpu=0"])
    inside = box.host.run(
        f"docker exec {UNIT} sh -c 'ls /dev/nvidia*; nvidia-smi -L; ldconfig -p | grep libcuda'"
    )
    print(inside)  # noqa: T201 - shown in the notes
    lines = inside.splitlines()
    assert [line for line in lines if line.startswith("/dev/")] == [
        "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia0", "/dev/nvidiactl",
    ]  # fmt: skip
    assert f"GPU 0: NVIDIA L40S (UUID: {UUID}0)" in lines
    assert f"{UUID}1" not in inside
    # NVIDIA's own hook made the container's linker know the driver's library
    assert f"libcuda.so.{DRIVER}" in lines[-1]
    assert f"CDI: nvidia.com/gpu=0, nvidia.com/gpu=1, nvidia.com/gpu={UUID}0" in box.finding()
    reply = httpx.post(
        f"http://{box.host.address}:4000/v1/completions",
        headers={"Authorization": f"Bearer {MASTER_KEY}"},
        json={"model": MODEL, "prompt": "def fib(n):", "max_tokens": 60},
        timeout=START_TIMEOUT_SECONDS,
    )
    assert reply.json()["choices"][0]["text"].startswith("    if n < 2:")


def test_a_proof_that_fails_ends_the_run_before_an_engine_is_touched(box: Box) -> None:
    """The specification names the card, and gives its container none."""
    started = box.host.run(f"docker inspect -f '{{{{.State.StartedAt}}}}' {UNIT}")
    other = "path: /dev/nothing0\\n              hostPath: /dev/nvidia0"
    box.host.run(f"sed -i 's|path: /dev/nvidia0$|{other}|' {SPECIFICATION}")
    box.host.run("rm /var/lib/atelier/deployments/e2e/proven-gpus")
    result = box.site.deploy()
    assert result.status == 1
    assert f"a container of {box.image} does not see the cards as the host does" in result.output
    assert f"{UUID}0, NVIDIA L40S, 46068, {DRIVER}" in result.output
    assert "    nothing" in result.output
    assert "engines were not touched" in result.output
    assert box.host.run(f"docker inspect -f '{{{{.State.StartedAt}}}}' {UNIT}") == started
    box.host.run("systemctl restart nvidia-cdi-refresh.service")
    assert box.site.apply().steps == [box.proof()]


def test_a_container_that_lost_its_cards_is_found_and_restarted(box: Box) -> None:
    assert box.health() == "healthy"
    fake_gpu.lose_cards(box.host, UNIT)
    said = box.host.run(f"docker exec {UNIT} nvidia-smi -L 2>&1", check=False)
    assert said == "Failed to initialize NVML: Unknown Error"
    # the port answers as before
    box.wait_until("unhealthy")
    status = json.loads(box.site.atelier("status", "--json").stdout)
    row = next(row for row in status["services"] if row["service"] == UNIT)
    assert "may not open /dev/nvidiactl any more" in row["health_said"]
    assert f"{UNIT}: no GPU" in box.finding()
    planned = box.site.apply()
    assert planned.steps == [("restart", f"container {UNIT}")]
    assert "no GPU" in planned.output
    assert box.health() == "healthy"
    assert f"{UUID}0" in box.host.run(f"docker exec {UNIT} nvidia-smi -L")


def test_a_specification_of_another_driver_is_made_anew(box: Box) -> None:
    box.host.run(f"sed -i 's/{DRIVER}/580.100.01/g' {SPECIFICATION}")
    doctor = box.site.atelier("doctor", "--json").stdout
    assert "the deployment will: update CDI specification of the GPUs" in doctor
    planned = box.site.apply()
    assert planned.steps == [("update", "CDI specification of the GPUs"), box.proof()]
    assert "580.100.01" not in box.host.run(f"cat {SPECIFICATION}")


def test_containers_are_back_after_a_restart_of_the_host(box: Box) -> None:
    """The specification is in a tmpfs; Docker waits until it is there again."""
    slow = "/etc/systemd/system/nvidia-cdi-refresh.service.d"
    box.host.run(f"mkdir -p {slow}")
    box.host.run(f"printf '[Service]\\nExecStartPre=/bin/sleep 8\\n' >{slow}/slow.conf")
    cdi_host.start_again(box.host)
    box.wait_until("healthy")
    assert f"{UUID}0" in box.host.run(f"docker exec {UNIT} nvidia-smi -L")
    # without Atelier's file, Docker does not wait, and the container stays down
    box.host.run(f"mv {DROP_IN} /root/")
    cdi_host.start_again(box.host)
    time.sleep(15)
    assert box.host.run(f"ls {SPECIFICATION}") == SPECIFICATION
    assert box.host.run(f"docker inspect -f '{{{{.State.Status}}}}' {UNIT}") == "exited"
    # the next run puts both right
    box.host.run(f"rm -r {slow}")
    planned = box.site.apply()
    assert planned.steps == [
        ("create", f"file {DROP_IN}"),
        ("start", f"container {UNIT}"),
    ]
    assert box.health() == "healthy"
