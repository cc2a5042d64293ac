"""Ctrl-C while a verb runs pyinfra: that ends what it does on hosts, and gives locks back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

INVENTORY = """
from deploy import Deployment, Host, Model, pyinfra_hosts
deployment = Deployment(name="demo", hosts=[Host(name="@local")], models=[Model(name="tiny-coder")])
hosts = pyinfra_hosts(deployment, __file__)
"""
PYINFRA = """#!/bin/sh
# stands in for Python with pyinfra, which needs a while to end
cd DIRECTORY
trap 'rm works; sleep PAUSE; touch ended; exit 130' INT
touch works
while :; do sleep 0.1; done
"""


@pytest.fixture
def down(tmp_path: Path, pause: float) -> Any:
    """A run of atelier down, in a group of its own, as a shell makes one."""
    (tmp_path / "site.py").write_text(INVENTORY)
    python = tmp_path / "python"
    python.write_text(PYINFRA.replace("DIRECTORY", str(tmp_path)).replace("PAUSE", str(pause)))
    python.chmod(0o755)
    code = f"import sys; sys.executable = {str(python)!r}; from deploy.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "down", str(tmp_path / "site.py"), "--yes"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(tmp_path / "works")
    yield process
    process.kill()
    process.communicate()


def wait_for(path: Path, *, gone: bool = False) -> None:
    end = time.monotonic() + 30
    while path.exists() is gone:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("pause", [1])
def test_pyinfra_ends_by_itself(down: subprocess.Popen[str], tmp_path: Path) -> None:
    os.killpg(down.pid, signal.SIGINT)
    _, said = down.communicate(timeout=30)
    assert (tmp_path / "ended").exists()
    assert down.returncode == 130
    assert said.splitlines()[0].startswith("interrupted: waiting until the commands that run on")


@pytest.mark.parametrize("pause", [60])
def test_a_second_one_ends_it_at_once(down: subprocess.Popen[str], tmp_path: Path) -> None:
    os.killpg(down.pid, signal.SIGINT)
    wait_for(tmp_path / "works", gone=True)
    down.send_signal(signal.SIGINT)
    down.communicate(timeout=30)
    assert down.returncode == 130
    assert not (tmp_path / "ended").exists()
