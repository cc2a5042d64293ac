"""The lock on a host over SSH, with sudo: what ends it there, seen past SSH and past Atelier."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.hosts import USER, Host, run_host
from tests.e2e.site import Operator

NAME = os.environ.get("E2E_HOST_NAME", "e2e-host") + "-lock"
RECORD = "/var/lib/atelier/deployments/e2e-lock/lock.json"
PASSWORD = "it's a $ecret"
DEPLOY = """
from pyinfra.api import StringCommand

from deploy.operations.lock import changes_host
from deploy.tasks import secrets
from deploy.tasks.current import current_deployment

@changes_host
def slow():
    yield StringCommand("touch /tmp/begun; while [ ! -e /tmp/go ]; do sleep 0.1; done")

@changes_host
def changed():
    yield StringCommand("touch /tmp/changed")

deployment = current_deployment()
secrets.keep(deployment)
slow(name="Be slow")
changed(name="Change something")
"""


@dataclass
class Operators(Operator):
    """A deployment that only waits, from a home directory of its own."""

    directory: Path
    host: Host
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment["HOME"] = str(self.directory)
        (self.directory / ".ssh").mkdir()
        (self.directory / ".ssh" / "known_hosts").write_text(self.host.known_host())
        self.deploy_file = str(self.directory / "waits.py")
        Path(self.deploy_file).write_text(DEPLOY)
        host = {"name": "box", "address": self.host.address, "ssh_user": USER}
        more = {"ssh_key": str(self.host.key), "sudo": True}
        models = [{"name": "tiny-coder"}]
        self.write_settings(
            {"name": "e2e-lock", "profile": "individual", "hosts": [host | more], "models": models}
        )

    def record(self) -> dict[str, Any]:
        return dict(json.loads(self.host.run(f"cat {RECORD}")))

    def reaches(self, state: str) -> dict[str, Any]:
        """The record, as soon as it says so."""
        for _ in range(900):
            found = json.loads(self.host.run(f"cat {RECORD} 2>/dev/null", check=False) or "{}")
            if found.get("state") == state:
                return dict(found)
            time.sleep(0.1)
        raise AssertionError(found)

    def begin(self) -> subprocess.Popen[str]:
        """A run that has the lock and is at work."""
        self.host.run("rm -f /tmp/begun /tmp/go /tmp/changed")
        process = self.start()
        for _ in range(900):
            if self.host.run("ls /tmp/begun 2>/dev/null", check=False):
                assert self.record()["run"]["process"] == process.pid
                return process
            time.sleep(0.1)
        process.kill()
        raise AssertionError(process.communicate())

    def go(self) -> None:
        self.host.run("touch /tmp/go")

    def is_changed(self) -> bool:
        return bool(self.host.run("ls /tmp/changed 2>/dev/null", check=False))

    def lock(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.atelier(f"lock {verb}", *arguments)

    def seen(self) -> str:
        [row] = json.loads(self.lock("status", "--json").stdout)["locks"]
        return str(row["lock"])


@pytest.fixture(scope="module", params=["without a password", "with a password"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, host: Host
) -> Operators:
    """Root gives the lock file away to nobody: it is held with sudo."""
    site = Operators(tmp_path_factory.mktemp("lock-site"), host)
    host.run(f"rm -rf {Path(RECORD).parent}")
    if request.param == "with a password":
        host.run("chpasswd", f"{USER}:{PASSWORD}\n")
        host.run(f"echo '{USER} ALL=(ALL) ALL' >/etc/sudoers.d/{USER}")
        site.environment["ATELIER_SUDO_PASSWORD"] = PASSWORD
    return site


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with run_host(NAME, tmp_path_factory.mktemp("lock-host")) as host:
        yield host


def test_the_second_of_two_runs_ends_at_once(site: Operators) -> None:
    first = site.begin()
    assert site.seen() == "held"
    second = site.run("-y")
    assert second.status == 1
    assert f"(process {first.pid})" in second.output
    assert "atelier lock release INVENTORY --host box" in second.output
    site.go()
    assert first.wait(timeout=300) == 0
    assert (site.record()["state"], site.seen(), site.is_changed()) == ("done", "free", True)


def test_a_controller_that_is_killed(site: Operators) -> None:
    first = site.begin()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert site.reaches("cut")["run"]["process"] == first.pid
    assert site.seen() == "cut"
    site.go()
    result = site.run("-y")
    assert result.status == 0, result.output
    assert "the last run here was killed or lost its connection" in result.output
    assert f"(process {first.pid})" in result.output


def test_a_connection_that_breaks(site: Operators) -> None:
    first = site.begin()
    site.host.run(f"pkill -KILL -f '^sshd: {USER}'", check=False)
    site.reaches("cut")
    assert first.wait(timeout=300) == 1
    assert not site.is_changed()
    site.go()
    assert site.run("-y").status == 0


def test_a_controller_that_hangs(site: Operators) -> None:
    """Or whose power was cut: sshd does not know."""
    first = site.begin()
    first.send_signal(signal.SIGSTOP)
    pid = site.record()["pid"]
    assert site.run("-y").status == 1
    assert site.seen() == "held"
    other = site.lock("release", "--yes", "--host", "elsewhere")
    assert (other.returncode, "is not in the inventory" in other.stderr) == (1, True)
    released = site.lock("release", "--yes", "--host", "box")
    assert released.returncode == 0, released.stdout + released.stderr
    assert site.record()["state"] == "released"
    assert site.host.run(f"ls -d /proc/{pid} 2>/dev/null", check=False) == ""
    site.go()
    first.send_signal(signal.SIGCONT)
    assert first.wait(timeout=300) == 1
    assert not site.is_changed()
    assert site.run("-y").status == 0
    assert PASSWORD not in released.stdout + released.stderr
