"""Connections to a real server: which keys it is offered, which ways lead there."""

from __future__ import annotations

import base64
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko
import pytest

from deploy.hosts import jump_hosts, ssh, ssh_config
from deploy.hosts.connection import explain
from deploy.hosts.ssh import open_ssh, transport_of
from deploy.hosts.ssh_keys import public_part
from deploy.spec import HostSpec
from tests.hosts.ssh_server import Server, configure, serve
from tests.processes import ssh_agent

PASSPHRASE = "sesame"


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
    with ssh_agent(place):
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        for number in range(7):
            make_key(tmp_path / f"other{number}")
        make_key(tmp_path / "locked", PASSPHRASE)
        add_to_agent(*(tmp_path / f"other{number}" for number in range(7)), tmp_path / "locked")
        yield place


def add_to_agent(*keys: Path) -> None:
    askpass = keys[0].parent / "askpass"
    more = {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    command = ["ssh-add", "-q", *map(str, keys)]
    subprocess.run(command, check=True, env=os.environ | more, stdin=subprocess.DEVNULL)


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


# certificates


@pytest.fixture
def certify(home: Path) -> Callable[[str, str], bytes]:
    """Makes a certificate in a file, as an authority signs it; gives what a server is shown."""
    make_key(home / "authority")

    def certify(key: str, file: str) -> bytes:
        command = ["ssh-keygen", "-q", "-s", "authority", "-I", "x", "-n", "alice", f"{key}.pub"]
        subprocess.run(command, check=True, cwd=home)
        (home / f"{key}-cert.pub").rename(home / file)
        return base64.b64decode((home / file).read_text().split()[1])

    return certify


CERTIFICATES = {
    "beside its key": ("mine-cert.pub", ["IdentityFile {home}/mine"]),
    "configured": ("c.pub", ["IdentityFile {home}/mine", "CertificateFile {home}/c.pub"]),
    "after one that is not this key's": (
        "c.pub",
        [
            *("IdentityFile {home}/mine", "CertificateFile {home}/strange.pub"),
            "CertificateFile {home}/c.pub",
        ],
    ),
    "of the second key": (
        "c.pub",
        [
            *("IdentityFile {home}/rsa", "IdentityFile {home}/mine"),
            "CertificateFile {home}/c.pub",
        ],
    ),
    "of a key in the agent": (
        "c.pub",
        [
            *("IdentityFile {home}/locked", "IdentitiesOnly yes"),
            "CertificateFile {home}/c.pub",
        ],
    ),
    "in the agent alone": ("gone", ["IdentityFile {home}/locked", "IdentitiesOnly yes"]),
    "in the agent, with no key configured": ("gone", ["IdentityFile none"]),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_certificate_gets_in(
    name: str, home: Path, server: Server, agent: Path, certify: Callable[[str, str], bytes]
) -> None:
    file, lines = CERTIFICATES[name]
    in_agent = "agent" in name
    subprocess.run(["ssh-add", "-q", "-D"], check=True)
    command = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", f"{home}/rsa"]
    subprocess.run(command, check=True)
    for key in ("mine", "strange"):
        make_key(home / key)
    certify("strange", "strange.pub")
    key = "locked" if in_agent else "mine"
    server.allowed = certify(key, f"{key}-cert.pub" if file == "gone" else file)
    if in_agent:
        add_to_agent(home / key)
        (home / f"{key}-cert.pub").unlink(missing_ok=True)
    open_ssh(configure(home, server, *(line.format(home=home) for line in lines))).close()


def test_a_key_gets_in_whose_certificate_does_not(
    home: Path, server: Server, certify: Callable[[str, str], bytes]
) -> None:
    server.allowed = make_key(home / "mine")
    certificate = certify("mine", "mine-cert.pub")
    open_ssh(configure(home, server, f"IdentityFile {home}/mine")).close()
    assert list(dict.fromkeys(server.offered)) == [certificate, server.allowed]


# other keys


def field(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def key_of_a_card() -> str:
    """What ssh-keygen -t ed25519-sk leaves on a disk: the key itself is in the card."""
    public = field(b"sk-ssh-ed25519@openssh.com") + field(b"k" * 32) + field(b"ssh:")
    private = bytes(8) + public + b"\1" + field(b"h" * 64) + field(b"") + field(b"card")
    private += bytes(range(1, 1 + -len(private) % 8))
    head = b"openssh-key-v1\0" + field(b"none") + field(b"none") + field(b"") + bytes([0, 0, 0, 1])
    text = base64.encodebytes(head + field(public) + field(private)).decode()
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}-----END OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize("kind", ["a card", "a cipher", "no key"])
def test_a_key_that_cannot_be_used_here_keeps_no_other_from_it(
    kind: str, home: Path, server: Server
) -> None:
    odd = home / "odd"
    if kind == "a cipher":
        cipher = "chacha20-poly1305@openssh.com"
        command = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            PASSPHRASE,
            "-Z",
            cipher,
            "-f",
            str(odd),
        ]
        subprocess.run(command, check=True)
    else:
        odd.write_text(key_of_a_card() if kind == "a card" else "hello\n")
    server.allowed = make_key(home / "mine")
    open_ssh(configure(home, server, f"IdentityFile {odd}", f"IdentityFile {home}/mine")).close()


def test_a_server_that_wants_more_than_a_key_says_so_at_once(home: Path, server: Server) -> None:
    server.allowed = make_key(home / "mine")
    server.wanted_besides = "keyboard-interactive"
    host = configure(home, server, f"IdentityFile {home}/mine")
    with pytest.raises(paramiko.AuthenticationException) as refused:
        open_ssh(host)
    assert str(refused.value).endswith("/mine; wanted besides: keyboard-interactive")
    assert explain(str(refused.value), host).startswith("let alice in with a key alone")


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


PASSING = """
import socket, sys
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
socket.send_fds(socket.socket(fileno=1), [b"x"], [there.fileno()])
"""


def test_a_proxy_command_that_hands_the_connection_over(home: Path, server: Server) -> None:
    (home / "pass.py").write_text(PASSING)
    lines = [f"ProxyCommand python3 {home}/pass.py %h %p", "ProxyUseFdpass yes"]
    with open_ssh(configure(home, server, *lines)) as ssh:
        assert ssh.exec_command("echo through")[1].read() == b"through\n"
    ssh_config.read_endpoint.cache_clear()
    host = configure(home, server, "ProxyCommand true", "ProxyUseFdpass yes")
    with pytest.raises(paramiko.SSHException, match="has ended with exit status 0: true"):
        open_ssh(host)


def behind_a_jump_host(home: Path, server: Server, name: str) -> HostSpec:
    own = f"Host *\n  Port {server.port}\n  HostName 127.0.0.1\n  User alice\n"
    behind = f"Host gpu*\n  HostKeyAlias [127.0.0.1]:{server.port}\n  ProxyJump hop\n"
    (home / ".ssh/config").write_text(behind + own)
    return HostSpec(name=name)


def test_many_hosts_behind_a_jump_host_take_one_connection_to_it(
    home: Path, server: Server
) -> None:
    """A server drops clients after ten that log in at the same time (MaxStartups)."""
    server.forwards = True
    hosts = [behind_a_jump_host(home, server, f"gpu{number}") for number in range(12)]
    with ThreadPoolExecutor(len(hosts)) as pool:
        clients = list(pool.map(open_ssh, hosts))
    assert server.logins == 1 + len(hosts)
    clients.pop().close()
    with clients[0] as ssh:
        assert ssh.exec_command("echo through")[1].read() == b"through\n"
    for client in clients:
        client.close()
    open_ssh(hosts[0]).close()
    assert server.logins == 1 + len(hosts) + 2, "it is connected to anew after the last has left"


def test_all_hosts_behind_a_jump_host_that_is_off_are_told_at_once(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [behind_a_jump_host(home, server, f"gpu{number}") for number in range(4)]
    dialled: list[int] = []

    def dial(endpoint: ssh_config.Endpoint) -> socket.socket:
        dialled.append(endpoint.port)
        [way] = [each for each in jump_hosts._jump_hosts.values() if not each.connected.done()]
        while way.users < len(hosts):
            time.sleep(0.01)
        raise OSError("no connection")

    monkeypatch.setattr(ssh, "_dial", dial)
    with ThreadPoolExecutor(len(hosts)) as pool:
        tries = [pool.submit(open_ssh, host) for host in hosts]
    assert [str(each.exception()) for each in tries] == ["no connection"] * 4
    assert len(dialled) == 1


def test_a_jump_host_that_is_gone_is_connected_to_again(home: Path, server: Server) -> None:
    server.forwards = True
    host = behind_a_jump_host(home, server, "gpu1")
    with open_ssh(host) as first:
        assert first.through
        transport_of(first.through.client).close()
        with open_ssh(host) as second:
            assert second.exec_command("echo through")[1].read() == b"through\n"


def test_jump_hosts_in_a_circle_are_refused(home: Path, server: Server) -> None:
    config = f"Host *\n  ProxyJump hop\n  HostName 127.0.0.1\n  Port {server.port}\n"
    (home / ".ssh/config").write_text(config)
    with pytest.raises(paramiko.SSHException, match=r"ProxyJump hop: leads to 127\.0\.0\.1 again"):
        open_ssh(HostSpec(name="box"))


def test_two_jump_hosts(home: Path, server: Server) -> None:
    """The way to the second one goes through the first one, and each is asked for itself."""
    server.forwards = True
    host = configure(home, server, "ProxyJump first,alice@second")
    with (home / ".ssh/config").open("a") as config:
        for name in ("first", "second"):
            config.write(f"Host {name}\n  Port {server.port}\n  HostName 127.0.0.1\n  User alice\n")
    with open_ssh(host) as ssh:
        assert server.logins == 3
        assert ssh.exec_command("echo through")[1].read() == b"through\n"


@pytest.fixture
def control_path(home: Path, server: Server) -> Iterator[Path]:
    """A connection that ``ssh`` keeps open; the server lets nobody in after that."""
    path = home / "open"
    command = ["ssh", "-F", "none", "-M", "-N", "-S", str(path), "-p", str(server.port)]
    known = f"UserKnownHostsFile={home}/.ssh/known_hosts"
    keeping = subprocess.Popen([*command, "-o", known, "alice@127.0.0.1"])
    try:
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        server.allowed = b"nobody"
        yield path
    finally:
        keeping.terminate()
        keeping.wait()


def test_a_jump_host_is_gone_through_on_a_connection_that_is_open(
    home: Path, server: Server, control_path: Path
) -> None:
    server.forwards = True
    with serve() as target:
        place = f"Host gpu1\n  HostName 127.0.0.1\n  Port {target.port}\n  ProxyJump hop\n"
        hop = (
            f"Host hop\n  HostName 127.0.0.1\n  Port {server.port}\n  ControlPath {control_path}\n"
        )
        (home / ".ssh/config").write_text(f"{place}{hop}Host *\n  User alice\n")
        with (home / ".ssh/known_hosts").open("a") as known:
            known.write(target.known_host)
        with open_ssh(HostSpec(name="gpu1")) as ssh:
            assert ssh.exec_command("echo through")[1].read() == b"through\n"
    assert server.logins == 1


def test_who_gets_in_with_ssh_alone_is_told_why(
    home: Path, server: Server, control_path: Path
) -> None:
    server.wanted_besides = "publickey,gssapi-with-mic"
    lines = [f"ControlPath {control_path}", "GSSAPIAuthentication yes"]
    host = configure(home, server, *lines)
    with pytest.raises(paramiko.AuthenticationException) as refused:
        open_ssh(host)
    assert str(refused.value).endswith(
        f"; ssh itself may use a connection that is open already (ControlPath {control_path})"
        " or Kerberos (GSSAPIAuthentication)"
    )
    fix = explain(f"Authentication error ({refused.value})", host)
    assert "ssh-copy-id box" in fix
    server.wanted_besides = "publickey"
    control_path.unlink()
    with pytest.raises(paramiko.AuthenticationException, match=r"as none was found$"):
        open_ssh(host)


def test_dropbear_is_refused_at_once(home: Path, server: Server) -> None:
    server.version = "SSH-2.0-dropbear_2022.83"
    host = configure(home, server)
    with pytest.raises(paramiko.SSHException) as refused:
        open_ssh(host)
    said = "SSH-2.0-dropbear_2022.83 closes the connection at commands of more than 9000 characters"
    assert str(refused.value) == said
    assert "openssh-server" in explain(said, host)


def test_a_server_that_closes_the_connection_at_a_command(home: Path, server: Server) -> None:
    server.cuts_off = True
    with (
        open_ssh(configure(home, server)) as ssh,
        pytest.raises(paramiko.SSHException, match="closed the connection at a command"),
    ):
        ssh.exec_command("echo done")


def test_addresses_that_are_not_wanted_are_left_alone(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where IPv6 leads nowhere, AddressFamily inet saves a time-out."""
    families: list[int] = []
    find = socket.getaddrinfo

    def noted(*arguments: Any, **named: Any) -> list[Any]:
        families.append(arguments[2])
        return find(*arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    lines = ["AddressFamily inet", "BindAddress 127.0.0.7"]
    with open_ssh(configure(home, server, *lines)) as client:
        own = transport_of(client).sock
        assert isinstance(own, socket.socket)
        assert own.getsockname()[0] == "127.0.0.7"
    assert families[0] == socket.AF_INET


def test_a_slow_server_has_the_time_that_is_configured(home: Path, server: Server) -> None:
    with open_ssh(configure(home, server, "ConnectTimeout 70")) as ssh:
        transport = transport_of(ssh)
        assert (transport.banner_timeout, transport.auth_timeout) == (70, 70)


def test_packets_are_sent_at_once_and_silence_is_noticed(home: Path, server: Server) -> None:
    with open_ssh(configure(home, server, "ServerAliveInterval 7")) as ssh:
        transport = transport_of(ssh)
        assert isinstance(transport.sock, socket.socket)
        assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert transport.packetizer._Packetizer__keepalive_interval == 7  # type: ignore[attr-defined]
