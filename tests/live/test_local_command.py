"""Docker on this machine for a user who needs sudo for it, with a stand-in for sudo and docker."""

from __future__ import annotations

import os
import tempfile
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


CLIENT = """#!/bin/sh
config=${DOCKER_CONFIG:-$HOME/.docker}/config.json
grep -qs '"currentContext": "rootless"' "$config" || [ "${DOCKER_CONTEXT:-}" = rootless ] ||
  { echo "the wrong Docker: $*" >&2; exit 1; }
"""
SOME_CONTEXT = '{"currentContext": "rootless"}'


@pytest.mark.parametrize(
    ("variables", "settings"),
    [
        ({}, {".docker/config.json": SOME_CONTEXT}),
        ({"DOCKER_CONFIG": "elsewhere"}, {"elsewhere/config.json": SOME_CONTEXT}),
        ({"DOCKER_CONTEXT": "rootless"}, {}),
    ],
)
def test_docker_is_asked_where_its_context_says(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    settings: dict[str, str],
) -> None:
    """A rootless Docker has a socket that Docker's client alone knows."""
    (home / "bin" / "docker").write_text(CLIENT + DOCKER.partition("exit 1; }\n")[2])
    monkeypatch.delenv("DOCKER_HOST")
    for name, value in variables.items():
        monkeypatch.setenv(name, str(home / value) if name == "DOCKER_CONFIG" else value)
    for path, text in settings.items():
        (home / path).parent.mkdir()
        (home / path).write_text(text)
    [host] = declare(hosts=[{"name": "@local"}]).hosts
    with connect(host) as connection:
        assert ask_docker(connection) == "24.0.5"


def test_a_socket_that_is_named_wins_over_a_context(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does for Docker's client."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/docker.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "rootless")
    [host] = declare(hosts=[{"name": "@local"}]).hosts
    with connect(host) as connection:
        assert ask_docker(connection) == "24.0.5"


def test_a_deep_directory_for_temporary_files_does_not_matter(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On clusters and in CI, TMPDIR has more bytes than the path of a socket may have."""
    deep = home / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    (home / "nopasswd").touch()
    [host] = declare(hosts=[{"name": "@local", "sudo": True}]).hosts
    with connect(host) as connection:
        assert ask_docker(connection) == "24.0.5"
