"""The stack that is deployed: one engine, LiteLLM and Open WebUI, on one host."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

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
    steps: dict[str, float]
    """What it said it was doing, and for how many seconds."""
    output: str


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
        command = [sys.executable, "-m", "pyinfra", str(self.directory / "inventory.py"), deploy]
        return timed([*command, *flags], PROJECT, {"HOME": str(self.directory)})

    def prepare_host(self) -> Run:
        """Install and configure Docker."""
        return self.run("-y", deploy=str(self.directory / "docker_only.py"))


def timed(command: list[str], directory: Path, environment: dict[str, str]) -> Run:
    """Run a command and note when it began each of its steps.

    Raises:
        RuntimeError: with what it printed, if it fails.
    """
    started = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=directory,
        env=os.environ | {"PYINFRA_PROGRESS": "off"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe, see above
        lines = [(time.monotonic() - started, line) for line in process.stdout]
    seconds = time.monotonic() - started
    output = "".join(line for _, line in lines)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{output}")
    return Run(seconds, _steps(lines, seconds), output)


def _steps(lines: list[tuple[float, str]], end: float) -> dict[str, float]:
    begun = [(0.0, "Starting Python and pyinfra")]
    begun += [(when, line.strip("-> \n")) for when, line in lines if line.startswith("--> ")]
    ends = [when for when, _ in begun[1:]] + [end]
    return {name: until - when for (when, name), until in zip(begun, ends, strict=True)}
