"""A container registry on this machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import docker
import httpx
import yaml

from deploy.catalog import load_catalog
from deploy.images import build_images, make_build_plan
from tests.e2e.hosts import bridge
from tests.e2e.names import CHECKOUT
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
        local = f"e2e-build-{CHECKOUT}/{name}"
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
        return {name: self.publish(plan.tag) for name, plan in plans.items()}

    def publish(self, image: str) -> Settings:
        """Push a local image; returns what a deployment on test hosts declares of it."""
        port = self.address.rpartition(":")[2]
        return {"reference": self.push(image, image).replace(self.address, f"{bridge()}:{port}")}


def run_registry(
    directory: Path,
    *,
    listen: str = "127.0.0.1",
    tls: str = "",
    login: tuple[str, str] | None = None,
) -> Iterator[Registry]:
    """A registry whose files are in a directory.

    Args:
        directory: its files; several servers may share them.
        listen: where it listens; on ``0.0.0.0`` test hosts reach it too.
        tls: the address of this machine that a certificate is made for; ``ca.crt`` signs it.
        login: user and password that it wants.
    """
    port = free_port()
    address = f"{tls or '127.0.0.1'}:{port}"
    settings: dict[str, Any] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
        "http": {"addr": f"{tls or listen}:{port}"},
        "log": {"level": "error"},
    }
    if tls:
        key, certificate = _make_certificate(directory, tls)
        settings["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
    if login:
        user, password = login
        digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        (directory / "htpasswd").write_text(f"{user}:{digest}\n")
        settings["auth"] = {"htpasswd": {"realm": "lab", "path": str(directory / "htpasswd")}}
    config = directory / f"{address}.yml"
    config.write_text(yaml.safe_dump(settings))
    with (
        (directory / "registry.log").open("w") as log,
        subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log
        ) as process,
    ):
        try:
            _wait(f"{'https' if tls else 'http'}://{address}/v2/")
            yield Registry(address)
        finally:
            process.terminate()


def _make_certificate(directory: Path, address: str) -> tuple[Path, Path]:
    """A key and its certificate for an address, signed by an authority that nobody knows."""
    ca_key, ca = directory / "ca.key", directory / "ca.crt"
    key, request, certificate = (directory / f"tls.{end}" for end in ("key", "csr", "crt"))
    names = directory / "names.cnf"
    names.write_text(f"subjectAltName=IP:{address}\n")
    new_key = ("-newkey", "rsa:2048", "-nodes")
    for arguments in (
        ("req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=lab"),
        ("req", *new_key, "-keyout", key, "-out", request, "-subj", f"/CN={address}"),
        (
            *("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial"),
            *("-out", certificate, "-days", "2", "-extfile", names),
        ),
    ):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    return key, certificate


def _wait(url: str) -> None:
    for _ in range(50):
        try:
            # one that wants a login is there, too
            httpx.get(url, verify=False)  # noqa: S501
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the registry does not answer")
