"""Whole runs of pyinfra on this machine that only wait: the lock between real processes.

What they need of pyinfra is tested here: that it calls back when it disconnects, however a run
ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
INVENTORY = """
from pathlib import Path

from deploy import Deployment, Host, Model, pyinfra_hosts

host = Host(name="@local", directory=str(Path(__file__).parent / "host"))
deployment = Deployment(name="lab", hosts=[host], models=[Model(name="tiny-coder")])
hosts = pyinfra_hosts(deployment, __file__)
"""
DEPLOY = """
from pyinfra.api import StringCommand

from deploy.operations.lock import changes_host


@changes_host
def changed(command):
    yield StringCommand(command)


changed(name="First", command="while [ ! -e {go} ]; do sleep 0.05; done")
changed(name="Second", command="{then}")
"""


@dataclass
class Operators:
    directory: Path

    @property
    def go(self) -> Path:
        return self.directory / "go"

    def start(self, then: str = "true") -> subprocess.Popen[str]:
        (self.directory / "lab.py").write_text(INVENTORY)
        (self.directory / "waits.py").write_text(DEPLOY.format(go=self.go, then=then))
        files = [str(self.directory / name) for name in ("lab.py", "waits.py")]
        return subprocess.Popen(
            [sys.executable, "-m", "pyinfra", *files, "-y"],
            cwd=ROOT,
            env=os.environ | {"PYINFRA_PROGRESS": "off"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def record(self) -> dict[str, Any]:
        path = self.directory / "host/deployments/lab/lock.json"
        return dict(json.loads(path.read_text())) if path.exists() else {"state": "", "run": {}}

    def reaches(self, state: str, process: subprocess.Popen[str]) -> None:
        for _ in range(600):
            found = self.record()
            if found["state"] == state and found["run"]["process"] == process.pid:
                return
            time.sleep(0.05)
        raise AssertionError(found)


@pytest.fixture
def operators(tmp_path: Path) -> Operators:
    # what a deployment has beside the lock, so that the record stays
    (tmp_path / "host/deployments/lab/config").mkdir(parents=True)
    return Operators(tmp_path)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize("then", ["true", "false"])
def test_a_run_has_it_until_it_ends_well_or_not(operators: Operators, then: str) -> None:
    first = operators.start(then)
    operators.reaches("held", first)
    status, said = ended(operators.start())
    assert status == 1
    assert f"(process {first.pid})" in said
    assert "Traceback" not in said
    assert operators.record()["run"]["process"] == first.pid
    operators.go.touch()
    assert ended(first)[0] == (0 if then == "true" else 1)
    assert operators.record()["state"] == "done"


def test_a_run_that_is_interrupted_gives_it_back(operators: Operators) -> None:
    first = operators.start()
    operators.reaches("held", first)
    first.send_signal(signal.SIGINT)
    time.sleep(1)
    assert operators.record()["state"] == "held", "a command still runs there"
    operators.go.touch()
    status, said = ended(first)
    assert status == 130
    assert "interrupted: waiting until the commands" in said
    assert "Traceback" not in said
    assert operators.record()["state"] == "done"


def test_a_run_that_is_interrupted_twice_ends_at_once(operators: Operators) -> None:
    first = operators.start()
    operators.reaches("held", first)
    first.send_signal(signal.SIGINT)
    time.sleep(1)
    first.send_signal(signal.SIGINT)
    assert ended(first)[0] != 0
    operators.reaches("cut", first)
    operators.go.touch()


def test_a_run_that_is_killed_is_known_to_the_next(operators: Operators) -> None:
    first = operators.start()
    operators.reaches("held", first)
    first.kill()
    first.communicate()
    operators.reaches("cut", first)
    operators.go.touch()
    status, said = ended(operators.start())
    assert status == 0, said
    assert said.count("the last run here was killed or lost its connection") == 1
    assert f"(process {first.pid})" in said
