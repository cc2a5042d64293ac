"""A deployment on test hosts over SSH: how it is declared, and what runs there."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.e2e import fake_gpu
from tests.e2e.hosts import USER, Host, run_host
from tests.e2e.site import MASTER_KEY, START_TIMEOUT_SECONDS, Settings, Site

EVERYWHERE = "0.0.0.0"  # noqa: S104 - the tests ask from outside the host
Containers = dict[str, tuple[str, str, str]]
"""Id, state and start time by name."""


@contextmanager
def run_site(
    home: Path, containers: dict[str, str], images: Settings, host_image: str = ""
) -> Iterator[tuple[Site, dict[str, Host]]]:
    """Fresh hosts, and a deployment for them whose images come from a registry of this machine.

    Args:
        home: the home directory that it is deployed from.
        containers: names of the hosts' containers, by names of the hosts.
        images: what the deployment declares of its images.
        host_image: tag of another image for hosts than that of Debian 12 with its Docker.
    """
    with ExitStack() as stack:
        hosts = {}
        for name, container in containers.items():
            (home / name).mkdir()
            place = home / name
            host = run_host(container, place, with_docker=True, image=host_image, restarts=True)
            hosts[name] = stack.enter_context(host)
        (home / ".ssh").mkdir()
        known = "".join(host.known_host() for host in hosts.values())
        (home / ".ssh" / "known_hosts").write_text(known)
        environment = {"HOME": str(home), "E2E_MASTER_KEY": MASTER_KEY}
        yield Site("e2e", home, _settings(hosts, images), environment), hosts


@contextmanager
def run_gpu_site(home: Path, container: str, images: Settings) -> Iterator[tuple[Site, Host]]:
    """A fresh host with a fake L40S, and a deployment of vLLM's stand-in for it, without models."""
    with run_site(home, {"gpu": container}, images) as (site, hosts):
        fake_gpu.install(hosts["gpu"])
        settings = site.settings
        # a driver that serves, and is kept as it is
        driver = {"toolkit": "present"}
        settings["hosts"][0] |= {"gpus": "1x l40s", "driver": driver, "gpu_runtime": "nvidia"}
        settings["engine"] = {
            "kind": "vllm",
            "offline": True,
            "env": {"FAKE_VLLM_ANY_WEIGHTS": "1"},
            "memory_limit": "1GiB",
            "start_timeout_seconds": START_TIMEOUT_SECONDS,
        }
        site.write(settings | {"models": []})
        yield site, hosts["gpu"]


def containers_of(host: Host) -> Containers:
    """Every container of a host, as its engine tells it there."""
    listed = host.run("docker ps -aq --no-trunc 2>/dev/null | xargs -r docker inspect", check=False)
    return {
        row["Name"].removeprefix("/"): (
            row["Id"],
            row["State"]["Status"],
            row["State"]["StartedAt"],
        )
        for row in json.loads(listed or "[]")
    }


def open_ports(address: str) -> set[int]:
    """Every TCP port that somebody outside of the host can connect to."""

    def is_open(port: int) -> bool:
        with socket.socket() as probe:
            probe.settimeout(2)
            return probe.connect_ex((address, port)) == 0

    with ThreadPoolExecutor(32) as pool:
        ports = range(1, 65536)
        return {port for port, found in zip(ports, pool.map(is_open, ports), strict=True) if found}


def _settings(hosts: dict[str, Host], images: Settings) -> Settings:
    registries = sorted({image["reference"].split("/")[0] for image in images.values()})
    return {
        "name": "e2e",
        "profile": "individual",
        "hosts": [
            {
                "name": name,
                "address": host.address,
                "ssh_user": USER,
                "ssh_key": str(host.key),
                "sudo": True,
                "docker": "distribution",
                "docker_settings": {"insecure-registries": registries},
            }
            for name, host in hosts.items()
        ],
        "models": [{"name": "tiny-coder", "replicas": len(hosts)}],
        "engine": {"port": 8000, "env": {}, "start_timeout_seconds": START_TIMEOUT_SECONDS},
        "router": {
            "listen": EVERYWHERE,
            "start_timeout_seconds": START_TIMEOUT_SECONDS,
            "num_retries": 2,
        },
        "web_ui": None,
        "images": images,
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }
