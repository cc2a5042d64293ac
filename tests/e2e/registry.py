"""A container registry on this machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import httpx
import yaml

from deploy.catalog import load_catalog
from deploy.images import build_images, make_build_plan
from tests.e2e.hosts import BRIDGE
from tests.e2e.site import Settings, free_port


@dataclass(frozen=True)
class Registry:
    address: str

    def push(self, image: str, name: str) -> str:
        """Push a local image; returns the reference to pull it by. The local tag is removed."""
        reference = f"{self.address}/{name}"
        repository, _, tag = reference.rpartition(":")
        client = docker.from_env()
        client.images.get(image).tag(repository, tag)
        for line in client.images.push(repository, tag, stream=True, decode=True):
            assert "error" not in line, line
        client.images.remove(reference)
        client.close()
        return reference

    def build(self, dockerfile: str, name: str) -> str:
        """Build an image and push it."""
        local = f"e2e-build/{name}"
        subprocess.run(
            ["docker", "image", "build", "--quiet", "--tag", local, "-"],
            input=dockerfile.encode(),
            check=True,
            capture_output=True,
        )
        reference = self.push(local, name)
        subprocess.run(["docker", "image", "rm", local], check=True, capture_output=True)
        return reference

    def provide(self, *names: str) -> Settings:
        """Push images of the catalogue, built here; returns what a deployment declares of them."""
        plans = {name: make_build_plan(name, load_catalog()) for name in names}
        build_images(list(plans.values()), report=lambda _line: None)
        port = self.address.rpartition(":")[2]
        return {
            name: {
                "reference": self.push(plan.tag, plan.tag).replace(self.address, f"{BRIDGE}:{port}")
            }
            for name, plan in plans.items()
        }


def run_registry(directory: Path, listen: str = "127.0.0.1") -> Iterator[Registry]:
    """A registry of this machine; with ``listen="0.0.0.0"`` for the test hosts too."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    config = directory / "config.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "version": 0.1,
                "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
                "http": {"addr": f"{listen}:{port}"},
                "log": {"level": "error"},
            }
        )
    )
    with (
        (directory / "registry.log").open("w") as log,
        subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log
        ) as process,
    ):
        try:
            _wait(address)
            yield Registry(address)
        finally:
            process.terminate()


def _wait(address: str) -> None:
    for _ in range(50):
        try:
            httpx.get(f"http://{address}/v2/").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the registry does not answer")
