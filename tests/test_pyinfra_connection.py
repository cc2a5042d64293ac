"""What is taken for granted inside pyinfra: how its SSH connector makes and uses its client.

In a process of its own, as pyinfra patches the interpreter.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts.ssh_server import Server, serve, write_known_hosts

INVENTORY = """
from deploy import Deployment, Host, Model, pyinfra_hosts
deployment = Deployment(
    name="x", profile="individual", hosts=[Host(name="box")],
    models=[Model(name="tiny-coder")], web_ui=None)
hosts = pyinfra_hosts(deployment, __file__)
"""
RUN = ["-m", "pyinfra", "-y", "inventory.py", "exec", "--"]


def run(home: Path, *command: str, more: str = "") -> subprocess.CompletedProcess[str]:
    (home / "inventory.py").write_text(INVENTORY + more)
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(
        [sys.executable, *RUN, *command],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


@pytest.fixture
def server(tmp_path: Path):  # type: ignore[no-untyped-def]
    with serve() as server:
        (tmp_path / ".ssh").mkdir()
        more = tmp_path / "more"
        more.write_text(f"Host box\n HostName 127.0.0.1\n User alice\n Port {server.port}\n")
        (tmp_path / ".ssh/config").write_text(f"Include {more}\n")
        write_known_hosts(tmp_path, server)
        yield server


def test_pyinfra_connects_with_the_configuration_of_ssh(tmp_path: Path, server: Server) -> None:
    """A host of which the inventory says no more than its name; the rest stands in an Include."""
    ran = run(tmp_path, "echo", "reached $((1 + 1))")
    assert ran.returncode == 0, ran.stdout
    assert "reached 2" in ran.stdout
    assert server.commands


def test_a_failed_connection_is_said_in_words_that_are_explained(
    tmp_path: Path, server: Server
) -> None:
    (tmp_path / ".ssh/known_hosts").unlink()
    ran = run(tmp_path, "true")
    assert ran.returncode == 1
    assert "fix: compare the key with the one on the host's console" in ran.stdout
    assert "Traceback" not in ran.stdout


def test_a_key_that_does_not_get_in(tmp_path: Path, server: Server) -> None:
    server.allowed = b"another"
    ran = run(tmp_path, "true")
    assert ran.returncode == 1
    assert "offered: no key, as none was found" in ran.stdout
    assert "fix: try: ssh -p" in ran.stdout


def test_a_command_that_hangs_is_given_up_and_said(tmp_path: Path, server: Server) -> None:
    short = "from deploy import pyinfra_connection as c\nc.LOOK_SECONDS = c.CHANGE_SECONDS = 1\n"
    ran = run(tmp_path, "sleep 30", more=short)
    assert ran.returncode == 1
    assert "box has not finished this within 1 s, so it is given up. fix:" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert "Nones" not in ran.stdout
