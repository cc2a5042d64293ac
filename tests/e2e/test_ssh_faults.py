"""Hosts as operators have them: hardened, behind proxies, without room, with chains that are gone.

One host; what makes it so is done there as root, past SSH and past Atelier, and undone.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.catalog import load_catalog
from tests.e2e.hosts import Host
from tests.e2e.remote import containers_of, run_site
from tests.e2e.site import MASTER_KEY, Settings, Site
from tests.split_gguf import split_gguf

NAME = os.environ.get("E2E_HOST_NAME", "e2e-host-faults")
ENGINE, ROUTER = "e2e-llama-cpp-own-0", "e2e-litellm-0"
MIB = 1024**2
UMASK = "echo 'session optional pam_umask.so umask=0077' >>/etc/pam.d/common-session"
PROXY = "http://10.99.99.99:3128"
PROXIES = f"""
mkdir -p /root/.docker && cat >/root/.docker/config.json <<'end'
{{"proxies": {{"default": {{"httpProxy": "{PROXY}", "httpsProxy": "{PROXY}"}}}}}}
end
"""
ARM = r"""
printf '#!/bin/sh\ncase "$*" in *m*) echo "Linux aarch64" ;; *) exec /bin/uname "$@" ;; esac\n' \
  >/usr/local/bin/uname && chmod 755 /usr/local/bin/uname
"""
FLUSH = "for t in filter nat; do iptables -t $t -F; iptables -t $t -X; done"
NETWORKS = "docker network ls -q"


@dataclass
class Box:
    """The host, the deployment on it and what it was declared as."""

    site: Site
    host: Host
    base: Settings

    def declare(self, name: str = "e2e", directory: str = "", **settings: Any) -> None:
        changed = copy.deepcopy(self.base) | {"name": name} | settings
        if directory:
            changed["hosts"][0]["directory"] = directory
        self.site.write(changed)

    def refused(self) -> str:
        """What a run says that ends before anything is changed."""
        result = self.site.run("-y")
        assert (result.status, result.changes) == (1, []), result.output
        assert "Traceback" not in result.output
        return result.output

    @contextmanager
    def mounted(self, path: str, options: str) -> Iterator[None]:
        """A file system of its own in memory."""
        self.host.run(f"mkdir -p {path} && mount -t tmpfs -o {options} tmpfs {path}")
        try:
            yield
        finally:
            self.host.run(f"umount {path}")


@contextmanager
def umask(mode: int) -> Iterator[None]:
    """The operator's own umask."""
    before = os.umask(mode)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, pulled: Settings) -> Iterator[Box]:
    with run_site(tmp_path_factory.mktemp("faults"), {"box": NAME}, pulled) as (site, hosts):
        tiny = load_catalog().models["tiny-coder"].path
        assert tiny is not None
        first, *_ = split_gguf(tiny, site.directory / "own", 3)
        own = {"name": "own", "path": first.name, "max_model_len": 2048}
        yield Box(site, hosts["box"], site.settings | {"models": [own]})


def test_a_hardened_host_behind_a_proxy_gets_a_model_in_parts(box: Box) -> None:
    """umask 077 there and here, proxies for Docker's client, and files that others must read."""
    box.host.run(UMASK)
    box.host.run(PROXIES)
    box.declare()
    with umask(0o077):
        result = box.site.deploy()
        assert result.status == 0, result.output
        assert box.site.deploy().changes == []
    assert box.host.run("su - alice -c umask") == "0077"
    assert {state for _, state, _ in containers_of(box.host).values()} == {"running"}
    reply = httpx.post(
        f"http://{box.host.address}:4000/v1/completions",
        headers={"Authorization": f"Bearer {MASTER_KEY}"},
        json={"model": "own", "prompt": "def fib(n):", "max_tokens": 60, "temperature": 0},
        timeout=60,
    )
    assert "a, b = b, a + b" in reply.text
    for name in (ENGINE, ROUTER):
        assert PROXY not in box.host.run(f"docker exec {name} env")
    parts = box.host.run("find /var/lib/atelier/models -type f -printf '%f %m\\n' | sort")
    assert parts.splitlines() == [f"own-0000{number}-of-00003.gguf 644" for number in (1, 2, 3)]


def test_a_proxy_that_is_declared_is_there(box: Box) -> None:
    """And the health check of the container does not go to it."""
    box.declare(engine=box.base["engine"] | {"env": {"HTTP_PROXY": PROXY, "http_proxy": PROXY}})
    result = box.site.deploy()
    assert result.status == 0, result.output
    environment = box.host.run(f"docker exec {ENGINE} env").splitlines()
    assert f"http_proxy={PROXY}" in environment
    assert "no_proxy=localhost,127.0.0.1" in environment


def test_a_model_larger_than_its_disk_is_refused(box: Box, tmp_path: Path) -> None:
    large = tmp_path / "large.gguf"
    with large.open("wb") as file:
        file.write(b"GGUF")
        file.truncate(120 * MIB)
    own = {"name": "large", "path": str(large), "max_model_len": 2048}
    with box.mounted("/small", "size=48m"):
        box.declare("e2e-small", "/small", models=[own])
        said = box.refused()
        assert "48 MiB free on /small (directory)" in said
        assert "large.gguf: 120 MiB" in said
        assert box.host.run("ls /small") == ""


def test_directories_that_nobody_can_write_to_are_refused(box: Box) -> None:
    with box.mounted("/frozen", "ro"):
        box.declare("e2e-frozen", "/frozen/atelier")
        assert "/frozen/atelier is on /frozen, which is mounted read-only" in box.refused()
    box.host.run("touch /srv/file")
    box.declare("e2e-file", "/srv/file/atelier")
    assert "/srv/file is a file" in box.refused()
    with box.mounted("/crowded", "size=100m,nr_inodes=20"):
        box.declare("e2e-crowded", "/crowded")
        assert "more files on /crowded" in box.refused()


def test_images_of_another_architecture_are_refused(box: Box) -> None:
    box.host.run(ARM)
    box.declare("e2e-arm", image_source="build", images={})
    said = box.refused()
    box.host.run("rm /usr/local/bin/uname")
    assert "the host is arm64, and atelier/llama-cpp" in said
    assert "is for amd64" in said


def test_chains_that_a_firewall_took_away_are_explained(box: Box) -> None:
    box.declare()
    result = box.site.deploy()
    assert result.status == 0, result.output
    box.host.run(FLUSH)
    box.declare(router=box.base["router"] | {"num_retries": 3, "start_timeout_seconds": 15})
    result = box.site.deploy()
    assert result.status == 1
    assert "Docker's rules are gone" in result.output
    assert "sudo systemctl restart docker" in result.output
    box.host.run("systemctl restart docker")
    box.declare()
    assert box.site.deploy().status == 0
    assert box.site.deploy().changes == []


def test_a_docker_without_an_address_range_is_refused(box: Box) -> None:
    """Docker itself agrees that there is none."""
    daemon = json.loads(box.host.run("cat /etc/docker/daemon.json"))
    pools = [{"base": "172.18.0.0/16", "size": 16}]
    box.host.run(
        "cat >/etc/docker/daemon.json && systemctl restart docker",
        json.dumps(daemon | {"default-address-pools": pools}),
    )
    before = box.host.run(NETWORKS)
    box.declare("e2e-pools")
    said = box.refused()
    assert "Docker has no address range left" in said
    assert "docker network prune" in said
    refused = "docker network create one-more >/dev/null 2>&1 || echo refused"
    assert box.host.run(refused) == "refused"
    assert box.host.run(NETWORKS) == before
