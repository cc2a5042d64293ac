"""Let's Encrypt's test server (https://github.com/letsencrypt/pebble), and a DNS server for it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from deploy.catalog import load_catalog
from deploy.images import ImageBuildPlan, build_images, make_build_plan
from deploy.tls.authority import issue, make_authority
from tests.e2e.hosts import bridge, docker
from tests.e2e.site import free_port

VERSION = "2.10.3"
DOCKERFILE = Path(__file__).parent / "Dockerfile"
LIFE_SECONDS = 90 * 86400


@dataclass(frozen=True)
class Pebble:
    """An authority."""

    container: str
    port: int
    management_port: int

    @property
    def directory(self) -> str:
        """Where containers of any network reach it."""
        return f"https://{bridge()}:{self.port}/dir"

    @property
    def root(self) -> str:
        """PEM of what proves the certificates that it issues; another one at each start."""
        # it is asked on this machine
        reply = httpx.get(self._managed("roots/0"), verify=False, trust_env=False)  # noqa: S501
        return reply.raise_for_status().text

    def log(self) -> str:
        return docker("logs", self.container)

    def wait(self) -> None:
        for _ in range(100):
            try:
                _ = self.root
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(self.log())

    def _managed(self, path: str) -> str:
        return f"https://127.0.0.1:{self.management_port}/{path}"


@dataclass(frozen=True)
class Network:
    """Authorities with a DNS server, on a network of their own: they reach what is published."""

    name: str
    path: Path
    image: str
    http_port: int
    """Where they come to instead of port 80."""
    dns_port: int
    proof: str
    """PEM of what proves their directories."""

    def start(self, purpose: str, environment: dict[str, str], **config: Any) -> Pebble:
        """Another authority.

        Args:
            purpose: a part of its name.
            environment: variables, e.g. PEBBLE_WFE_NONCEREJECT.
            config: settings of pebble.
        """
        container = f"{self.name}-{purpose}"
        settings = {
            "listenAddress": "0.0.0.0:14000",
            "managementListenAddress": "0.0.0.0:15000",
            "certificate": "/etc/pebble/tls.crt",
            "privateKey": "/etc/pebble/tls.key",
            "httpPort": self.http_port,
            "tlsPort": self.http_port,
            "retryAfter": {"authz": 1, "order": 1},
            "keyAlgorithm": "ecdsa",
            "profiles": {"default": {"description": "", "validityPeriod": LIFE_SECONDS}},
        }
        (self.path / f"{purpose}.json").write_text(json.dumps({"pebble": settings | config}))
        pebble = Pebble(container, free_port(), free_port())
        variables = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"} | environment
        docker(
            *("run", "--detach", "--name", container, "--network", self.name),
            *("--publish", f"{bridge()}:{pebble.port}:14000"),
            *("--publish", f"127.0.0.1:{pebble.management_port}:15000"),
            *(part for pair in variables.items() for part in ("--env", "=".join(pair))),
            *("--volume", f"{self.path}:/etc/pebble:ro", self.image, "pebble"),
            *("-config", f"/etc/pebble/{purpose}.json", "-dnsserver", f"{self.name}-dns:8053"),
        )
        pebble.wait()
        return pebble

    def lose(self, name: str) -> None:
        """Let the DNS fail for a name; every other one is this machine's."""
        self._tell_dns("set-servfail", name)

    def find(self, name: str) -> None:
        """Let the DNS answer again."""
        self._tell_dns("clear-servfail", name)

    def _tell_dns(self, verb: str, name: str) -> None:
        url = f"http://127.0.0.1:{self.dns_port}/{verb}"
        httpx.post(url, json={"host": f"{name}."}, trust_env=False).raise_for_status()


@contextmanager
def run_network(name: str, path: Path, http_port: int) -> Iterator[Network]:
    """A network for authorities, and everything on it, as long as the context lives."""
    image = build()
    _remove(name)
    authority, now = make_authority(name, datetime.now(UTC)), datetime.now(UTC)
    pair = issue(authority, [bridge()], now)
    (path / "tls.crt").write_text(pair.certificate)
    (path / "tls.key").write_text(pair.key)
    try:
        docker("network", "create", name)
        gateway = json.loads(docker("network", "inspect", name))[0]["IPAM"]["Config"][0]["Gateway"]
        network = Network(name, path, image, http_port, free_port(), authority.certificate)
        off = (f"-{each}=" for each in ("http01", "https01", "tlsalpn01", "doh", "defaultIPv6"))
        docker(
            *("run", "--detach", "--name", f"{name}-dns", "--network", name),
            *("--publish", f"127.0.0.1:{network.dns_port}:8055", image),
            *("pebble-challtestsrv", "-defaultIPv4", gateway, *off),
        )
        yield network
    finally:
        _remove(name)


def _remove(name: str) -> None:
    containers = docker("ps", "--all", "--quiet", "--filter", f"network={name}").split()
    if containers:
        docker("rm", "--force", *containers)
    docker("network", "rm", name, check=False)


def build() -> str:
    """Build the image unless it is there; its tag is a digest of what it is built from."""
    base = make_build_plan("ollama", load_catalog()).base
    text = DOCKERFILE.read_text()
    for name, value in (("BASE", base.tag), ("PEBBLE", VERSION)):
        text = text.replace(f"ARG {name}\n", f"ARG {name}={value}\n")
    tag = f"atelier-test/pebble:{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    plan = ImageBuildPlan("pebble", tag, base, {"Dockerfile": text})
    build_images([plan], report=lambda _line: None)
    return tag
