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
RUN = ["-m", "pyinfra", "-y", "inventory.py"]


def run(
    home: Path, *command: str, more: str = "", host: str = "box", what: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command on a host, or what is given, e.g. a file of operations."""
    (home / "inventory.py").write_text(INVENTORY.replace('"box"', f'"{host}"') + more)
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(
        [sys.executable, *RUN, *(what or ["exec", "--", *command])],
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
    assert (
        "fix: log in once, compare the key that is shown with the one on the host's console"
        in ran.stdout
    )
    assert "Traceback" not in ran.stdout


def test_a_key_that_does_not_get_in(tmp_path: Path, server: Server) -> None:
    server.allowed = b"another"
    ran = run(tmp_path, "true")
    assert ran.returncode == 1
    assert "offered: no key, as none was found" in ran.stdout
    assert "fix: try: ssh box" in ran.stdout


SHORT = "from deploy import pyinfra_connection as c\nc.LOOK_SECONDS = c.CHANGE_SECONDS = 1\n"
LOOK = """
from pyinfra import host
from pyinfra.facts.server import Command
host.get_fact(Command, command="sleep 30; echo page after page of shell")
"""


@pytest.mark.parametrize("host", ["box", "@local"])
def test_a_command_that_hangs_is_given_up_and_said(
    host: str, tmp_path: Path, server: Server
) -> None:
    ran = run(tmp_path, "sleep 30", more=SHORT, host=host)
    assert ran.returncode == 1
    assert f"[{host}] server.shell is given up: not done within 1 s. fix: see on {host}" in (
        ran.stdout
    )
    assert "Traceback" not in ran.stdout
    assert "Nones" not in ran.stdout


@pytest.mark.parametrize("host", ["box", "@local"])
def test_a_look_that_hangs_is_given_up_and_said(host: str, tmp_path: Path, server: Server) -> None:
    (tmp_path / "look.py").write_text(LOOK)
    ran = run(tmp_path, more=SHORT, host=host, what=["look.py"])
    assert ran.returncode == 1
    assert f"[{host}] looking at the host is given up: not done within 1 s" in ran.stdout
    assert "Error: could not load fact: server.Command\n" in ran.stdout
    assert "page after page" not in ran.stdout
    assert "Traceback" not in ran.stdout


def test_a_command_that_says_itself_how_long_it_takes(tmp_path: Path, server: Server) -> None:
    patient = (
        "from pyinfra import host\nfrom pyinfra.api import FactBase\n"
        "from deploy.pyinfra_connection import PatientCommand\n"
        "class Slow(FactBase):\n    def command(self):\n"
        "        return PatientCommand('sleep 2; echo slept', 20)\n"
        "print(host.get_fact(Slow))\n"
    )
    (tmp_path / "look.py").write_text(patient)
    ran = run(tmp_path, more=SHORT, what=["look.py"])
    assert (ran.returncode, "slept" in ran.stdout) == (0, True), ran.stdout


SUDO = """
from pyinfra import host
from pyinfra.api import StringCommand
from deploy.pyinfra_connection import give_sudo, has_sudo, way_to_run
command = StringCommand("id"), {"_sudo": True, "_timeout": 5, "_stdin": "x"}
print("before:", has_sudo(host), way_to_run(host, *command).text)
give_sudo(host, "/nowhere/program")
way = way_to_run(host, *command)
print("after:", has_sudo(host), way.text)
print("over SSH:", way.client is not None)
"""


@pytest.mark.parametrize("host", ["box", "@local"])
def test_pyinfra_takes_the_password_from_a_program_and_removes_it(
    host: str, tmp_path: Path, server: Server
) -> None:
    (tmp_path / "look.py").write_text(SUDO)
    ran = run(tmp_path, host=host, what=["look.py"])
    assert ran.returncode == 0, ran.stdout
    before, after, over_ssh = (
        line.strip()
        for line in ran.stdout.splitlines()
        if line.strip().startswith(("before:", "after:", "over SSH:"))
    )
    assert before == "before: False sudo -H -n sh -c id"
    assert after.startswith("after: True env SUDO_ASKPASS=/nowhere/program PYINFRA_SUDO_PASSWORD=")
    assert after.endswith(" sudo -H -A -k sh -c id")
    assert over_ssh == f"over SSH: {host == 'box'}"
    removed = any("rm -f /nowhere/program" in command for command in server.commands)
    assert removed is (host == "box")


TRIED = """
from pyinfra import host
from deploy import pyinfra_connection as connection
from deploy.hosts.ssh import Client
from deploy.operations import sudo
sudo.unlock()
asked = host.connector_data[connection.SUDO_SAID].get()
print("tried:", asked, host.connector_data.get(sudo.LETS_IN))
print("broken:", connection._try_sudo(Client()))
"""


def test_sudo_is_tried_once_while_the_run_goes_on(tmp_path: Path, server: Server) -> None:
    (tmp_path / "look.py").write_text(TRIED)
    declares_sudo = "from deploy import pyinfra_connection as c\nc.TRY_SUDO = 'echo tried'\n"
    declares_sudo += "c._hosts['box'] = c._hosts['box'].model_copy(update={'sudo': True})\n"
    ran = run(tmp_path, more=declares_sudo, what=["look.py"])
    assert ran.returncode == 0, ran.stdout
    assert "tried: (True, 'tried') True" in ran.stdout
    assert "broken: None" in ran.stdout
    assert sum("echo tried" in command for command in server.commands) == 1


TWO = """
deployment = deployment.model_copy(
    update={"hosts": tuple(Host(name=name) for name in ("box", "another"))}
)
hosts = pyinfra_hosts(deployment, __file__)
"""
ASKED = "from deploy.hosts import ssh_config\nprint('asked ahead:', len(ssh_config._asked))\n"


def test_openssh_is_asked_once_about_all_hosts(tmp_path: Path, server: Server) -> None:
    with (tmp_path / "more").open("a") as config:
        config.write(f"Host another\n HostName 127.0.0.1\n User alice\n Port {server.port}\n")
    (tmp_path / "look.py").write_text(ASKED)
    ran = run(tmp_path, more=TWO, what=["look.py"])
    assert ran.returncode == 0, ran.stdout
    assert "asked ahead: 2" in ran.stdout
    assert server.logins == 2


def test_a_login_shell_that_runs_nothing_ends_a_run_without_a_traceback(
    tmp_path: Path, server: Server
) -> None:
    server.shell = ("sh", "-c", "echo 'rbash: line 1: exec: restricted' >&2; exit 1")
    ran = run(tmp_path, what=[str(Path.cwd() / "deploy.py")])
    assert ran.returncode == 1
    assert "exec: restricted" in ran.stdout
    assert "Traceback" not in ran.stdout
