"""Locks of this machine, looked at and released past pyinfra."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from deploy.errors import ConnectionFailedError, HostError
from deploy.live import shell
from deploy.live.lock import read_lock, release_lock
from deploy.live.login import Login
from deploy.scripts import read_script
from deploy.spec import HostSpec


@pytest.fixture
def host(tmp_path: Path) -> HostSpec:
    return declared(tmp_path)


def declared(directory: Path, **more: Any) -> HostSpec:
    return HostSpec.model_validate({"name": "@local", "directory": str(directory)} | more)


@pytest.fixture
def holder(host: HostSpec) -> Iterator[subprocess.Popen[str]]:
    """A run that has the lock of the deployment ``lab``."""
    directory = str(host.directory / "deployments" / "lab")
    command = ["sh", "-c", read_script("lock.sh"), "atelier", "hold", directory]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write('{"who": "alice@laptop", "process": 12}\n')
        process.stdin.flush()
        process.stdout.readline()
        yield process


def test_nobody_ever_had_it(host: HostSpec) -> None:
    found = read_lock(host, "lab")
    assert (found.lock, found.record) == ("free", None)
    assert list(Path(str(host.directory)).iterdir()) == []


def test_who_has_it_and_how_it_is_released(
    host: HostSpec, holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    found = read_lock(host, "lab")
    assert found.lock == "held"
    assert found.record is not None
    assert (found.record.who, found.record.pid) == ("alice@laptop", holder.pid)
    with pytest.raises(HostError, match="does not hold the lock any more"):
        release_lock(host, "lab", holder.pid + 1)
    assert holder.poll() is None
    assert release_lock(host, "lab", holder.pid).lock == "free"
    assert holder.wait(timeout=10) != 0
    record = json.loads((tmp_path / "deployments/lab/lock.json").read_text())
    assert record["state"] == "released"


def test_sudo_reads_its_password_before_the_script_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a connection whose server is a shell."""
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nread -r said; echo "$*|$said" | head -n 1 >&2; exit 3\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("ATELIER_SUDO_PASSWORD", "hush")
    with pytest.raises(HostError, match=r"lock: -k -S -p  sh -c .*"):
        read_lock(declared(tmp_path, sudo=True), "lab")


@pytest.mark.parametrize("error", [paramiko.SSHException("no banner"), OSError("timed out")])
def test_a_host_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: Any) -> Login:
        raise error

    monkeypatch.setattr(shell, "log_in", refuse)
    with pytest.raises(ConnectionFailedError) as refused:
        read_lock(HostSpec(name="gpu1"), "lab")
    [problem] = refused.value.problems
    assert problem.path == "host gpu1"
    assert problem.found == f"cannot be reached over SSH: {error}"
    assert problem.fix


def test_a_host_over_ssh_runs_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[str] = []

    def execute(_: Any, command: str, first_line: str) -> tuple[int, str]:
        commands.append(command)
        return 0, '{"lock":"free","now":1,"record":null}'

    login = SimpleNamespace(ssh=None, sudo_wants_password=False)
    monkeypatch.setattr(shell, "log_in", lambda *_: login)
    monkeypatch.setattr(shell, "_over_ssh", execute)
    assert read_lock(HostSpec(name="gpu1", sudo=True), "lab").lock == "free"
    [command] = commands
    assert command.startswith("sudo -n sh -c ")
    assert command.endswith(" atelier status /var/lib/atelier/deployments/lab")
