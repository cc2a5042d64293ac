"""Connections to a real server: which keys it is offered, which ways lead there."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from deploy.hosts import ssh_config
from deploy.hosts.ssh import open_ssh, transport_of
from deploy.hosts.ssh_keys import public_part
from deploy.spec import HostSpec
from tests.hosts.ssh_server import Server, serve, write_known_hosts

PASSPHRASE = "sesame"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    ssh_config.read_endpoint.cache_clear()
    yield tmp_path
    ssh_config.read_endpoint.cache_clear()


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    with serve() as server:
        write_known_hosts(home, server)
        yield server


def configure(home: Path, server: Server, *lines: str) -> HostSpec:
    """A host that the inventory only names."""
    own = [f"Port {server.port}", "HostName 127.0.0.1", "User alice", *lines]
    (home / ".ssh/config").write_text("\n  ".join(["Host box", *own]) + "\n")
    return HostSpec(name="box")


def make_key(path: Path, passphrase: str = "") -> bytes:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)]
    subprocess.run(command, check=True)
    return public_part(str(path))


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent with seven keys that open nothing, and then a key with a passphrase."""
    place = tmp_path / "agent"
    askpass = tmp_path / "askpass"
    askpass.write_text(f"#!/bin/sh\necho {PASSPHRASE}\n")
    askpass.chmod(0o700)
    with subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.DEVNULL) as process:
        while not place.exists() and process.poll() is None:
            pass
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        for number in range(7):
            make_key(tmp_path / f"other{number}")
        make_key(tmp_path / "locked", PASSPHRASE)
        more = {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
        names = [*(f"other{number}" for number in range(7)), "locked"]
        command = ["ssh-add", "-q", *(str(tmp_path / name) for name in names)]
        subprocess.run(command, check=True, env=os.environ | more, stdin=subprocess.DEVNULL)
        yield place
        process.terminate()


@pytest.mark.parametrize("with_public_file", [True, False])
@pytest.mark.parametrize("only", ["yes", "no"])
def test_the_configured_key_of_the_agent_comes_first(
    only: str, with_public_file: bool, home: Path, server: Server, agent: Path
) -> None:
    key = home / "locked"
    server.allowed = public_part(str(key))
    if not with_public_file:
        Path(f"{key}.pub").unlink()
    host = configure(home, server, f"IdentityFile {key}", f"IdentitiesOnly {only}")
    open_ssh(host).close()
    assert set(server.offered) == {server.allowed}


def test_other_keys_of_the_agent_stay_there_where_only_some_are_wanted(
    home: Path, server: Server, agent: Path
) -> None:
    server.allowed = public_part(str(home / "other3"))
    host = configure(home, server, f"IdentityFile {home}/locked", "IdentitiesOnly yes")
    with pytest.raises(paramiko.AuthenticationException, match=r"for alice; offered: .*locked$"):
        open_ssh(host)
    host = configure(home, server, f"IdentityFile {home}/locked")
    ssh_config.read_endpoint.cache_clear()
    open_ssh(host).close()


def test_a_key_in_a_file_wins_over_an_agent_full_of_others(
    home: Path, server: Server, agent: Path
) -> None:
    server.allowed = make_key(home / "mine")
    open_ssh(configure(home, server, f"IdentityFile {home}/mine")).close()
    assert set(server.offered) == {server.allowed}


def test_the_agent_that_is_configured(
    home: Path, server: Server, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK")
    server.allowed = public_part(str(home / "locked"))
    lines = [f"IdentityFile {home}/locked.pub", f"IdentityAgent {agent}"]
    open_ssh(configure(home, server, *lines)).close()


def test_an_alias_for_the_host_key_and_a_file_of_its_own(home: Path, server: Server) -> None:
    known = home / ".ssh/known_hosts"
    (home / "lab").write_text(server.known_host.replace(f"[127.0.0.1]:{server.port}", "lab"))
    known.unlink()
    host = configure(home, server, "HostKeyAlias lab", f"UserKnownHostsFile {home}/lab")
    open_ssh(host).close()
    (home / "lab").write_text("")
    with pytest.raises(paramiko.SSHException, match="not found in known_hosts"):
        open_ssh(host)


def test_a_new_key_is_added_to_the_file_that_is_configured(home: Path, server: Server) -> None:
    host = configure(home, server, f"UserKnownHostsFile {home}/lab")
    (home / "lab").write_text("# mine\n")
    open_ssh(host.model_copy(update={"ssh_host_keys": "accept-new"})).close()
    assert (home / "lab").read_text() == f"# mine\n{server.known_host}"


RELAY = """
import os, socket, sys, threading
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def back():
    while data := there.recv(4096):
        os.write(1, data)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 4096):
    there.sendall(data)
"""


def test_a_proxy_command(home: Path, server: Server) -> None:
    (home / "relay.py").write_text(RELAY)
    host = configure(home, server, f"ProxyCommand python3 {home}/relay.py %h %p && true")
    with open_ssh(host) as ssh:
        assert ssh.exec_command("echo through")[1].read() == b"through\n"


def test_two_jump_hosts(home: Path, server: Server) -> None:
    """The way to the second one goes through the first one, and each is asked for itself."""
    server.forwards = True
    host = configure(home, server, "ProxyJump first,alice@second")
    with (home / ".ssh/config").open("a") as config:
        for name in ("first", "second"):
            config.write(f"Host {name}\n  Port {server.port}\n  HostName 127.0.0.1\n  User alice\n")
    with open_ssh(host) as ssh:
        assert ssh.through is not None
        assert ssh.through.through is not None
        assert ssh.exec_command("echo through")[1].read() == b"through\n"


def test_packets_are_sent_at_once_and_silence_is_noticed(home: Path, server: Server) -> None:
    with open_ssh(configure(home, server, "ServerAliveInterval 7")) as ssh:
        transport = transport_of(ssh)
        assert isinstance(transport.sock, socket.socket)
        assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert transport.packetizer._Packetizer__keepalive_interval == 7  # type: ignore[attr-defined]
