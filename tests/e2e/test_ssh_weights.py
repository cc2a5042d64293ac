"""Weights of Hugging Face on a host, from a hub on this machine that speaks to its real client.

Asserted on the host itself, past SSH and past Atelier, and by what the hub was asked.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e import fake_vllm
from tests.e2e.hosts import Host, bridge
from tests.e2e.names import host_name
from tests.e2e.registry import Registry
from tests.e2e.remote import EVERYWHERE, containers_of, run_gpu_site
from tests.e2e.site import Settings, Site
from tests.fake_hub import FakeHub, run_hub

NAME = host_name("weights")
MODEL = "qwen2.5-coder-0.5b"
UNIT = f"e2e-vllm-{MODEL}-0"
TOKEN = "hf_" + "a1B2" * 8
CACHE = "/var/lib/atelier/models/huggingface"
FOLDER = f"{CACHE}/hub/models--lab--coder"
MB = 1000**2
SMALL = {"config.json": b"{}", "tokenizer.json": b'{"model": 1}'}
UNUSED = {"original/weights.pth": b"0" * 1000, "pytorch_model.bin": b"1" * 1000}


@dataclass
class Box:
    """The host, the hub, and what is deployed."""

    site: Site
    host: Host
    hub: FakeHub
    base: Settings
    large: bytes

    def declare(self, repository: str, **of_host: Any) -> None:
        model = {"name": MODEL, "weights": repository, "gpus": 0.9}
        hosts = [self.base["hosts"][0] | of_host]
        self.site.write(self.base | {"models": [model], "hosts": hosts})

    def loaded(self) -> str:
        """The commit that the engine says it loaded."""
        said = self.host.run(f"docker logs {UNIT} 2>&1")
        return said.rpartition("/snapshots/")[2].split()[0]

    def snapshots(self) -> set[str]:
        return set(self.host.run(f"ls {FOLDER}/snapshots").split())


@pytest.fixture(scope="module")
def box(
    tmp_path_factory: pytest.TempPathFactory, everywhere: Registry, pulled: Settings
) -> Iterator[Box]:
    images = {"litellm": pulled["litellm"], "vllm": everywhere.publish(fake_vllm.build())}
    home = tmp_path_factory.mktemp("weights")
    with (
        run_hub(EVERYWHERE, bridge()) as hub,
        run_gpu_site(home, NAME, images) as (site, host),
    ):
        site.settings["engine"] |= {"offline": False, "env": {}}
        base = site.settings | {"huggingface_endpoint": hub.url}
        large = os.urandom(36 * MB)
        hub.publish("lab/coder", SMALL | UNUSED | {"model.safetensors": large})
        hub.repositories["lab/coder"].token = TOKEN
        yield Box(site, host, hub, base, large)


def test_a_gated_repository_without_a_token_is_refused_before_anything_is_touched(
    box: Box,
) -> None:
    box.declare("lab/coder")
    for refused in (box.site.dry_run(), box.site.deploy()):
        assert refused.status == 1
        assert "only to people that its owner let in" in refused.output
        assert refused.changes == []
    assert containers_of(box.host) == {}
    assert box.host.run("ls /var/lib/atelier", check=False) == ""
    box.base["secrets"]["huggingface_token"] = {"env": "E2E_HF_TOKEN"}
    box.site.environment["E2E_HF_TOKEN"] = TOKEN
    box.declare("lab/coder@v7")
    assert "has no revision 'v7'" in box.site.dry_run().output


def test_a_download_that_was_cut_is_gone_on_with(box: Box) -> None:
    """The run and its container are killed, as a power cut does."""
    box.declare("lab/coder")
    planned = box.site.dry_run()
    assert planned.content["download", "weights lab/coder"][1] == ("size", "0 MB", "36 MB")
    box.hub.chunk_seconds = 0.01
    run = box.site.start()
    try:
        _wait_for(lambda: box.hub.sent_bytes > 24 * MB)
        fetching = box.host.run("docker ps -q --filter name=atelier-weights-")
        described = box.host.run(f"docker inspect {fetching}; ps -eo args; cat /proc/*/cmdline")
        assert "fetch_weights" in described or "huggingface_hub" in described
        assert TOKEN not in described
    finally:
        run.kill()
        run.communicate()
    box.host.run(f"docker rm --force {fetching}")
    assert UNIT not in containers_of(box.host)
    box.hub.chunk_seconds = 0
    sent = box.hub.sent_bytes
    done = box.site.deploy()
    assert done.status == 0, done.output
    [resumed] = [request for request in box.hub.asked(" bytes=") if request.startswith("GET")][-1:]
    assert int(resumed.rpartition("=")[2].strip("-")) >= 10 * MB
    assert box.hub.sent_bytes - sent < 30 * MB
    assert TOKEN not in done.output


def test_what_is_there_is_asked_for_no_more(box: Box) -> None:
    box.hub.requests.clear()
    again = box.site.deploy()
    assert (again.status, again.changes) == (0, []), again.output
    assert box.hub.requests == []
    commit = box.hub.repositories["lab/coder"].refs["main"]
    assert box.loaded() == commit
    listed = box.host.run(f"cd {FOLDER}/snapshots/{commit} && find -type l -o -type f | sort")
    assert listed.split() == ["./config.json", "./model.safetensors", "./tokenizer.json"]
    described = json.loads(box.host.run(f"docker inspect {UNIT}"))[0]
    assert "HF_HUB_OFFLINE=1" in described["Config"]["Env"]
    [mount] = [m for m in described["Mounts"] if m["Source"] == f"{CACHE}/hub"]
    assert mount["RW"] is False
    assert TOKEN not in json.dumps(described)


def test_a_branch_that_moves_on_is_told_and_not_followed(box: Box) -> None:
    commit = box.hub.repositories["lab/coder"].refs["main"]
    newer = box.hub.publish("lab/coder", SMALL | {"model.safetensors": box.large, "new": b"1"})
    assert box.site.deploy().changes == []
    doctor = json.loads(box.site.atelier("doctor", "--json").stdout)
    [finding] = [row for row in doctor["findings"] if row["name"] == "weights"]
    assert finding["status"] == "warning"
    assert commit[:12] in finding["found"]
    assert newer in finding["fix"]


def test_another_revision_is_fetched_and_the_old_one_kept_until_it_is_pruned(box: Box) -> None:
    old, sent = box.loaded(), box.hub.sent_bytes
    tuned = SMALL | {"model.safetensors": box.large, "adapter.safetensors": os.urandom(MB)}
    commit = box.hub.publish("lab/coder", tuned, "v2")
    assert "nothing can go" in box.site.atelier("prune", "--models").stdout
    box.declare("lab/coder@v2")
    planned = box.site.apply()
    assert planned.steps[0] == ("download", "weights lab/coder")
    assert planned.content["download", "weights lab/coder"][0][:2] == ("revision", "main")
    assert ("recreate", f"container {UNIT}") in planned.announced
    assert box.loaded() == commit
    assert box.snapshots() == {old, commit}
    # the large file is the same in both
    assert box.hub.sent_bytes - sent == MB
    pruned = box.site.atelier("prune", "--models", "--yes")
    assert pruned.returncode == 0, pruned.stderr
    assert box.snapshots() == {commit}
    assert box.site.deploy().changes == []


def test_a_host_with_no_way_out_is_given_its_weights(box: Box) -> None:
    box.hub.publish("lab/chat", SMALL | {"model.safetensors": os.urandom(12 * MB)})
    port = box.hub.url.rpartition(":")[2]
    box.host.run(f"iptables -I OUTPUT -p tcp --dport {port} -j REJECT")
    box.declare("lab/chat")
    refused = box.site.deploy()
    assert refused.status == 1
    assert f"{box.hub.url} does not answer the host" in refused.output
    assert "declare weights='copy' for the host" in refused.output
    box.declare("lab/chat", weights="copy")
    planned = box.site.apply()
    assert ("copy", "weights lab/chat") in planned.announced
    assert box.loaded() == box.hub.repositories["lab/chat"].refs["main"]


def _wait_for(condition: Any) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen")
