"""A deployment of the tests: written, run and looked at from outside."""

from __future__ import annotations

import io
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import httpx
import yaml
from docker.models.containers import Container

from tests.e2e.names import PROJECT
from tests.warm import run_warm

PYINFRA = [sys.executable, "-m", "pyinfra"]
ATELIER = [str(Path(sys.executable).parent / "atelier")]
MASTER_KEY = f"sk-test-master-key-{secrets.token_hex(8)}"
"""Of this process alone: tests that run beside it watch this machine for theirs."""
START_TIMEOUT_SECONDS = 420
"""Enough for any service beside whatever else runs on the machine."""

Settings = dict[str, Any]


_claims: list[socket.socket] = []


def free_port() -> int:
    """A port that nothing uses, and that the kernel gives to no outgoing connection.

    No other test is given it while this process runs: its UDP port of the same number says so.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - not a secret
        claim = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("0.0.0.0", port))  # noqa: S104 - free on every address
            claim.bind(("127.0.0.1", port))
            _claims.append(claim)
            return port
        claim.close()


def settings_here(name: str, directory: Path) -> Settings:
    """Engine and router on this machine, which keeps the deployment's files in a directory."""
    return {
        "name": name,
        "profile": "individual",
        "hosts": [{"name": "@local", "directory": str(directory)}],
        "models": [{"name": "tiny-coder"}],
        "engine": {"start_timeout_seconds": START_TIMEOUT_SECONDS},
        "router": {"port": free_port(), "start_timeout_seconds": START_TIMEOUT_SECONDS},
        "web_ui": None,
        "image_source": "build",
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }


def with_entry(settings: Settings) -> Settings:
    """The same with a web UI, both behind an entry."""
    web_ui = {"port": free_port(), "start_timeout_seconds": START_TIMEOUT_SECONDS}
    return settings | {"web_ui": web_ui, "entry": entry_here()}


def entry_here(**more: Any) -> Settings:
    """An entry on this machine."""
    return {"http_port": free_port(), "https_port": free_port(), **more}


def kill(container: Container) -> None:
    """End a container's process as the kernel does; Docker starts again what nobody stopped."""
    container.reload()
    os.kill(container.attrs["State"]["Pid"], signal.SIGKILL)


def complete_at(url: str, model: str = "tiny-coder", key: str = MASTER_KEY) -> str:
    """What ``def fib(n):`` is completed with by the router at an address."""
    reply = httpx.post(
        f"{url}/v1/completions",
        headers={"Authorization": f"Bearer {key}"},
        json={"model": model, "prompt": "def fib(n):", "max_tokens": 60, "temperature": 0},
        timeout=START_TIMEOUT_SECONDS,
    )
    reply.raise_for_status()
    return str(reply.json()["choices"][0]["text"])


Field = tuple[str, str, str]
"""Name, old and new value of what changes."""


def _fields(change: dict[str, Any]) -> list[Field]:
    return [(row["field"], row["old"], row["new"]) for row in change["fields"]]


@dataclass(frozen=True)
class Result:
    status: int
    output: str
    changes: list[dict[str, Any]]
    succeeded: int | None
    """Operations that changed something; None for a dry run."""

    @property
    def steps(self) -> list[tuple[str, str]]:
        """What was announced: action and resource, in order."""
        return [(change["action"], change["resource"]) for change in self.changes]

    @property
    def announced(self) -> set[tuple[str, str]]:
        return set(self.steps)

    @property
    def announcements(self) -> list[tuple[str, str, str, list[Field]]]:
        """Each announced change: host, action, resource and fields; hosts are in any order."""
        return sorted(
            (change["host"], change["action"], change["resource"], _fields(change))
            for change in self.changes
        )

    @property
    def content(self) -> dict[tuple[str, str], list[Field]]:
        """The fields of each announced change, by step."""
        return {
            step: _fields(change) for step, change in zip(self.steps, self.changes, strict=True)
        }

    @property
    def fields(self) -> set[str]:
        return {field["field"] for change in self.changes for field in change["fields"]}


class Operator:
    """Runs pyinfra and ``atelier`` with the inventory of a directory."""

    directory: Path
    environment: dict[str, str]
    deploy_file = "deploy.py"
    """What pyinfra carries out: relative to the project, or anywhere."""
    timeout_seconds = 600
    """How long a run may take."""

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory.py"

    def write_settings(self, settings: Settings) -> None:
        """Declare these settings; an inventory of two lines reads them from YAML."""
        (self.directory / "deployment.yaml").write_text(yaml.safe_dump(settings))
        self.inventory.write_text(
            "from pathlib import Path\n\n"
            "from deploy import Deployment, pyinfra_hosts\n\n"
            "deployment = Deployment.load(Path(__file__).parent / 'deployment.yaml')\n"
            "hosts = pyinfra_hosts(deployment, __file__)\n"
        )

    def arguments(self, *flags: str) -> list[str]:
        """Those of pyinfra."""
        return [str(self.inventory), self.deploy_file, *flags]

    def command(self, *flags: str) -> list[str]:
        return [*PYINFRA, *self.arguments(*flags)]

    def env(self) -> dict[str, str]:
        return {**os.environ, "PYINFRA_PROGRESS": "off", **self.environment}

    def run(self, *flags: str) -> Result:
        changes = self.directory / "changes.jsonl"
        changes.unlink(missing_ok=True)
        finished = run_warm(
            *("pyinfra", *self.arguments("--json", "--diff", *flags)),
            environment=self.env() | {"ATELIER_CHANGES_FILE": str(changes)},
            timeout=self.timeout_seconds,
        )
        rows = changes.read_text().splitlines() if changes.exists() else []
        totals = None
        if finished.stdout.startswith("{"):
            results = json.loads(finished.stdout)["results"]
            totals = results["totals"]["success"] if results else None
        output = finished.stdout + finished.stderr
        return Result(finished.returncode, output, [json.loads(row) for row in rows], totals)

    def start(self) -> subprocess.Popen[str]:
        """Begin to deploy; what it does stands in the lines of its standard error."""
        return subprocess.Popen(
            self.command("-y"),
            cwd=PROJECT,
            env=self.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def dry_run(self) -> Result:
        return self.run("--dry")

    def deploy(self) -> Result:
        return self.run("-y")

    def apply(self) -> Result:
        """What a dry run announces; the run announces the same, and the one after it nothing."""
        return self.converged_twice()[0]

    def converged_twice(self) -> tuple[Result, Result, Result]:
        """A dry run, the run that it announced, and one after it that changes nothing."""
        planned = self.dry_run()
        assert planned.status == 0, planned.output
        done, again = self.deploy(), self.deploy()
        assert [done.status, again.status] == [0, 0], done.output + again.output
        assert done.announcements == planned.announcements, done.output
        assert again.changes == [], again.output
        return planned, done, again

    def atelier(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_warm(
            *("atelier", *verb.split(), str(self.inventory), *arguments),
            directory=self.directory,
            environment=self.env(),
            timeout=300,
        )


@dataclass
class Site(Operator):
    """One deployment in a directory of its own."""

    name: str
    directory: Path
    settings: Settings
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = docker.from_env()
        self.write(self.settings)

    def write(self, settings: Settings) -> None:
        """Declare these settings."""
        self.settings = settings
        self.write_settings(settings)

    def converge(self, settings: Settings) -> None:
        """Bring the deployment into a known state, however it was left."""
        self.write(settings)
        result = self.deploy()
        assert result.status == 0, result.output

    def container(self, service: str) -> Container:
        return self.client.containers.get(f"{self.name}-{service}-0")

    def read(self, service: str, path: str) -> bytes:
        """A file of a service's container, whole; what commands print there can get lost."""
        packed, _ = self.container(service).get_archive(path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(packed))) as archive:
            [member] = archive.getmembers()
            file = archive.extractfile(member)
            assert file
            return file.read()

    def snapshot(self) -> dict[str, tuple[str, str, str]]:
        """Everything that identifies what runs: id, state and start time by container name."""
        return {
            str(container.name): (
                str(container.id),
                container.status,
                container.attrs["State"]["StartedAt"],
            )
            for container in self.client.containers.list(
                all=True, filters={"label": f"io.atelier.deployment={self.name}"}
            )
        }

    @property
    def router_url(self) -> str:
        [router, *_] = self.settings.get("routers") or [self.settings["router"]]
        return f"http://127.0.0.1:{router['port']}"

    def complete(self, model: str = "tiny-coder", key: str = MASTER_KEY) -> str:
        """What the deployment completes ``def fib(n):`` with, through the router."""
        return complete_at(self.router_url, model, key)

    def remove(self) -> None:
        """Remove everything of the deployment, without Atelier."""
        self.client.close()
        remove_deployment(self.name)


@contextmanager
def run_local_site(
    name: str, directory: Path, settings: Settings, environment: dict[str, str] | None = None
) -> Iterator[Site]:
    """A deployment on this machine, from nothing until nothing is left of it."""
    remove_deployment(name)
    given = {"E2E_MASTER_KEY": MASTER_KEY} if environment is None else environment
    site = Site(name, directory, settings | {"name": name}, given)
    try:
        yield site
    finally:
        site.remove()


@contextmanager
def run_converged_site(name: str, directory: Path, settings: Settings) -> Iterator[Site]:
    """The same, once it is deployed."""
    with run_local_site(name, directory, settings) as site:
        site.converge(site.settings)
        yield site


def remove_deployment(name: str) -> None:
    """Remove everything that carries a deployment's label on this machine."""
    client = docker.from_env()
    only: dict[str, Any] = {"label": f"io.atelier.deployment={name}"}
    for container in client.containers.list(all=True, filters=only):
        container.remove(force=True)
    for network in client.networks.list(filters=only):
        network.remove()
    for volume in client.volumes.list(filters=only):
        volume.remove()
    client.close()
