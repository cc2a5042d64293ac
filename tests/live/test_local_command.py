"""Docker on this machine for a user who needs sudo for it, with a stand-in for sudo and docker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.errors import ConnectionFailedError
from deploy.hosts.sudo import PASSWORD_VARIABLE
from deploy.live.connection import Connection, connect
from tests.conftest import declare
from tests.live.test_hanging_docker import Daemon

SUDO = """#!/bin/sh
case $1 in
  -n) [ -e "$HOME/nopasswd" ] || { echo "sudo: a password is required" >&2; exit 1; }; shift ;;
  -k) read -r given; [ "$given" = sesame ] || { echo "sudo: wrong password" >&2; exit 1; }
    shift 4 ;;
esac
LET_IN=yes exec "$@"
"""
DOCKER = """#!/bin/sh
[ "$LET_IN $*" = "yes system dial-stdio" ] || { echo "permission denied: $*" >&2; exit 1; }
exec python3 -c '
import os, socket, sys, threading
there = socket.socket(socket.AF_UNIX)
there.connect(sys.argv[1])
def back():
    while data := there.recv(4096):
        os.write(1, data)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 4096):
    there.sendall(data)
' "$HOME/docker.sock"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Docker answers root alone."""
    (tmp_path / "bin").mkdir()
    for name, text in (("sudo", SUDO), ("docker", DOCKER)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/gone.sock")
    daemon = Daemon(tmp_path / "docker.sock")
    yield tmp_path
    daemon.close()


def ask_docker(connection: Connection) -> str:
    return str(connection.client.version()["Version"])


def test_docker_is_asked_with_sudo(home: Path) -> None:
    (home / "nopasswd").touch()
    [host] = declare(hosts=[{"name": "@local", "sudo": True}]).hosts
    with connect(host) as connection:
        assert ask_docker(connection) == "24.0.5"


def test_docker_is_asked_with_sudo_that_wants_a_password(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "sesame")
    [host] = declare(hosts=[{"name": "@local", "sudo": True}]).hosts
    with connect(host) as connection:
        assert ask_docker(connection) == "24.0.5"


def test_what_sudo_says_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "open")
    [host] = declare(hosts=[{"name": "@local", "sudo": True}]).hosts
    with pytest.raises(ConnectionFailedError, match="sudo: wrong password"), connect(host):
        pass
