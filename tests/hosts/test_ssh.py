"""Connections: where they go, by whom, and that small packets are sent at once."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.connection_errors import Explain
from deploy.errors import HostError
from deploy.hosts import sudo
from deploy.hosts.finding import FINDINGS_FILE
from deploy.hosts.ssh import Endpoint, Jump, find_endpoint, open_transport
from deploy.inventory import pyinfra_hosts
from deploy.operations.sudo import ASKPASS
from deploy.spec import HostSpec
from tests.conftest import declare


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def test_packets_are_sent_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        transport = open_transport(client)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        transport.close()


def test_an_endpoint_as_declared(home: Path) -> None:
    host = HostSpec(
        name="gpu1", address="10.0.0.1", ssh_user="me", ssh_port=2222, ssh_key="~/k", ssh_jump="b"
    )
    assert find_endpoint(host) == Endpoint("10.0.0.1", 2222, "me", (str(home / "k"),), "b")


def test_the_ssh_configuration_fills_in_the_rest(home: Path) -> None:
    (home / ".ssh/config").write_text(
        "Host gpu1\n  HostName 10.0.0.9\n  User you\n  Port 22022\n  ProxyJump bastion\n"
        "  IdentityFile ~/.ssh/lab\n"
    )
    assert find_endpoint(HostSpec(name="gpu1")) == Endpoint(
        "10.0.0.9", 22022, "you", (str(home / ".ssh/lab"),), "bastion"
    )
    assert find_endpoint(HostSpec(name="gpu1", ssh_user="me", ssh_port=22)).user == "me"
    assert find_endpoint(HostSpec(name="other")) == Endpoint("other", 22, None, (), None)


def test_what_pyinfra_connects_with(tmp_path: Path) -> None:
    hosts = [
        {"name": "gpu1", "ssh_jump": "bastion"},
        {"name": "gpu2", "ssh_host_keys": "accept-new"},
        {"name": "@local"},
    ]
    declared = dict(pyinfra_hosts(declare(hosts=hosts), str(tmp_path / "x.py")))
    jumping: dict[str, Any] = declared["gpu1"]["ssh_paramiko_connect_kwargs"]
    assert jumping["transport_factory"] is open_transport
    assert isinstance(jumping["sock"], Jump)
    assert jumping["sock"].to_json() == "through bastion"
    assert declared["gpu1"]["ssh_strict_host_key_checking"] == "yes"
    assert declared["gpu2"]["ssh_strict_host_key_checking"] == "accept-new"
    assert "sock" not in declared["gpu2"]["ssh_paramiko_connect_kwargs"]
    assert set(declared["@local"]) == {"atelier"}


@pytest.mark.parametrize("prefix", ["[gpu1] ", "    [gpu1] ", "[\x1b[1mgpu1\x1b[0m] "])
def test_a_failed_connection_is_explained_and_kept(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FINDINGS_FILE, str(tmp_path / "findings"))
    message = f"{prefix}\x1b[31mCould not connect (timed out)\x1b[0m"
    record = logging.makeLogRecord({"msg": message})
    assert Explain(declare(hosts=[{"name": "gpu1"}])).filter(record)
    assert record.msg.startswith(message)
    assert "[gpu1] fix: gpu1 is off, or a firewall is between" in record.msg
    [finding] = [json.loads(line) for line in (tmp_path / "findings").read_text().splitlines()]
    assert (finding["host"], finding["found"]) == ("gpu1", "Could not connect (timed out)")


@pytest.mark.parametrize("message", ["[gpu1] Connected", "[gpu2] Could not connect (x)", "", 3])
def test_everything_else_that_is_logged_stays(message: Any) -> None:
    record = logging.makeLogRecord({"msg": message})
    assert Explain(declare(hosts=[{"name": "gpu1"}])).filter(record)
    assert record.msg == message


def test_the_sudo_password_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sudo.PASSWORD_VARIABLE, "x y")
    assert sudo.ask_password("gpu1") == "x y"
    assert not sudo.is_typed()


def test_the_sudo_password_is_typed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sudo.PASSWORD_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter(["first", "second"])
    monkeypatch.setattr(sudo, "getpass", lambda _prompt: next(answers))
    assert [sudo.ask_password("gpu1"), sudo.ask_password("gpu2")] == ["first", "first"]
    sudo.forget_password()
    assert sudo.ask_password("gpu1") == "second"
    sudo.forget_password()


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sudo.PASSWORD_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(HostError, match="there is no terminal to ask for it"):
        sudo.ask_password("gpu1")


def test_the_program_that_knows_the_password(tmp_path: Path) -> None:
    """It really runs, and is for its owner alone."""
    script = "#!/bin/sh\nbase64 -d <<'end'\neCB5Cg==\nend\n"
    made = subprocess.run(
        ["sh", "-c", ASKPASS], input=script, capture_output=True, text=True, check=True
    )
    path = Path(made.stdout.strip())
    try:
        assert path.stat().st_mode & 0o777 == 0o700
        assert subprocess.run([path], capture_output=True, text=True).stdout == "x y\n"
    finally:
        path.unlink()
