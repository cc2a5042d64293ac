"""The stack that is deployed: one engine, LiteLLM and Open WebUI, on one host."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.trace import STARTED

PROJECT = Path(__file__).parent.parent
DOCKER_ONLY = """
from deploy.tasks import docker, precheck
from deploy.tasks.current import current_deployment

deployment = current_deployment()
precheck.check(deployment)
docker.install(deployment)
"""
INVENTORY = """
from pathlib import Path

from deploy import Deployment, pyinfra_hosts

deployment = Deployment.load(Path(__file__).parent / "deployment.yaml")
hosts = pyinfra_hosts(deployment, __file__)
"""


@dataclass(frozen=True)
class Run:
    """One run of a tool."""

    seconds: float
    output: str
    processor_seconds: float
    """Of its processes on this machine, as user and in the kernel."""


@dataclass
class Stack:
    """The deployment in a directory that is also the home directory of who deploys."""

    directory: Path
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        (self.directory / "inventory.py").write_text(INVENTORY)
        (self.directory / "docker_only.py").write_text(DOCKER_ONLY)
        (self.directory / "deployment.yaml").write_text(yaml.safe_dump(self.settings))

    def run(self, *flags: str, deploy: str = "deploy.py") -> Run:
        """Run pyinfra as an operator does."""
        return self._timed("-m", "pyinfra", *self._what(deploy), *flags)

    def trace(self, *flags: str) -> dict[str, float]:
        """Run it once more with a clock inside; returns where the seconds went."""
        output = self.directory / "trace.json"
        self._timed("-m", "bench.trace", str(output), *self._what("deploy.py"), *flags)
        seconds: dict[str, float] = json.loads(output.read_text())
        return seconds

    def prepare_host(self) -> Run:
        """Install and configure Docker."""
        return self.run("-y", deploy=str(self.directory / "docker_only.py"))

    def _what(self, deploy: str) -> tuple[str, str]:
        return str(self.directory / "inventory.py"), deploy

    def _timed(self, *arguments: str) -> Run:
        home = {"HOME": str(self.directory)}
        return timed([sys.executable, *arguments], PROJECT, home)


def timed(command: list[str], directory: Path, environment: dict[str, str]) -> Run:
    """Run a command.

    Raises:
        RuntimeError: with what it printed, if it fails.
    """
    started, processor = time.monotonic(), _processor_seconds()
    with subprocess.Popen(
        command,
        cwd=directory,
        env=os.environ | {"PYINFRA_PROGRESS": "off", STARTED: str(started)} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        output, _ = process.communicate()
    seconds = time.monotonic() - started
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{output}")
    return Run(seconds, output, _processor_seconds() - processor)


def _processor_seconds() -> float:
    """Of all processes that were waited for until now."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
