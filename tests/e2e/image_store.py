"""Large images for test hosts, in a volume that is kept from one run of the tests to the next.

A host's Docker loads vLLM's 5 GB in two to five minutes, most of which the disk writes. How images
reach a host is what tests/e2e/test_ssh_images.py tests; a host of this store has the largest of
them already, and is given the others as any host.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.catalog import load_catalog
from deploy.images import build_images, make_build_plan
from deploy.images.builder import image_lock
from tests.e2e.hosts import Host, docker, remove_container, start_host

VOLUME = "atelier-test-store"
STORED = ("vllm-cpu", "litellm", "open-webui", "postgres")
WAIT_SECONDS = 1800
"""How long another checkout's tests may have the store."""


@contextmanager
def run_stored_host(
    name: str, directory: Path, *, volume: str = VOLUME, images: Sequence[str] = STORED
) -> Iterator[Host]:
    """A host with Docker and large images, and nothing else.

    Args:
        name: name of its container.
        directory: where the key of its user is put.
        volume: what its Docker keeps them in.
        images: which; by default the largest of the profile 20-users.
    """
    plans = [make_build_plan(image, load_catalog()) for image in images]
    build_images(plans, report=print)
    remove_container(name)
    with image_lock(volume):
        _wait_until_unused(volume)
        host = start_host(name, directory, with_docker=True, volume=volume)
    try:
        _empty(host)
        _load(host, {plan.tag for plan in plans})
        yield host
        _empty(host)
    finally:
        remove_container(name)


def _wait_until_unused(volume: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while users := docker("ps", "-aq", "--filter", f"volume={volume}"):
        assert time.monotonic() < deadline, f"{volume} is in use by {users}"
        time.sleep(2)


def _empty(host: Host) -> None:
    """Remove what a deployment left, but not images."""
    host.run("docker ps -aq | xargs -r docker rm --force --volumes")
    host.run("docker volume prune --force; docker network prune --force")


def _load(host: Host, wanted: set[str]) -> None:
    there = set(host.run("docker images --format '{{.Repository}}:{{.Tag}}'").split())
    if others := there - wanted:
        host.run(f"docker rmi --force {' '.join(sorted(others))}")
    if missing := sorted(wanted - there):
        with subprocess.Popen(["docker", "save", *missing], stdout=subprocess.PIPE) as saving:
            loading = ["docker", "exec", "-i", host.name, "docker", "load", "--quiet"]
            subprocess.run(loading, stdin=saving.stdout, check=True, capture_output=True)
        assert saving.returncode == 0
