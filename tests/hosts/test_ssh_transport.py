"""Servers that allow few commands at a time, and servers that fall silent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import paramiko
import pytest

from deploy.hosts import ssh_config
from deploy.hosts.ssh import Client, open_ssh, transport_of
from deploy.hosts.ssh_transport import SILENCE_SECONDS, Transport
from deploy.spec import HostSpec
from tests.hosts.ssh_server import HOST_KEY, PROHIBITED, Server, serve, write_known_hosts


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("HOME", str(tmp_path))
    ssh_config.read_endpoint.cache_clear()
    with serve() as server:
        write_known_hosts(tmp_path, server)
        yield server
    ssh_config.read_endpoint.cache_clear()


def connect(server: Server) -> Client:
    return open_ssh(HostSpec(name="127.0.0.1", ssh_port=server.port, ssh_user="alice"))


@pytest.mark.parametrize("allowed", [1, 2, 10])
def test_as_many_commands_at_a_time_as_are_wanted(allowed: int, server: Server) -> None:
    """Each is still running when the last one begins."""
    server.max_sessions = allowed
    with connect(server) as client:
        running = [client.exec_command("read line; echo $line") for _ in range(5)]
        for number, (stdin, _, _) in enumerate(running):
            stdin.write(f"{number}\n")
            stdin.flush()
        said = [stdout.read().decode().strip() for _, stdout, _ in running]
    assert said == ["0", "1", "2", "3", "4"]
    assert server.logins == -(-5 // allowed)


def test_commands_that_begin_at_the_same_time(server: Server) -> None:
    server.max_sessions = 2
    with connect(server) as client, ThreadPoolExecutor(8) as pool:
        run = pool.map(
            lambda text: client.exec_command(f"sleep 0.2; echo {text}")[1].read(), "abcdefgh"
        )
        assert b"".join(run) == b"a\nb\nc\nd\ne\nf\ng\nh\n"


def test_further_connections_are_used_again_and_closed(server: Server) -> None:
    server.max_sessions = 1
    with connect(server) as client:
        transport = transport_of(client)
        held, _, _ = client.exec_command("cat")
        for _ in range(3):
            _, stdout, _ = client.exec_command("echo")
            stdout.channel.recv_exit_status()
            stdout.channel.close()
        held.channel.close()
    assert server.logins == 2
    assert not transport.is_active()
    assert not transport._others  # type: ignore[attr-defined]


def test_every_channel_is_told_why_it_was_refused_itself(server: Server) -> None:
    """Ports are not forwarded, and sessions are few: both are refused at the same time."""
    server.max_sessions = 1

    def ask(number: int) -> str:
        if number % 2:
            return client.exec_command("sleep 0.1; echo ran")[1].read().decode()
        place, nowhere = ("127.0.0.1", 9), ("127.0.0.1", 0)
        with pytest.raises(paramiko.ChannelException) as refused:
            transport_of(client).open_channel("direct-tcpip", place, nowhere)
        return str(refused.value.code)

    with ThreadPoolExecutor(12) as pool:
        for _ in range(5):
            with connect(server) as client:
                said = list(pool.map(ask, range(12)))
            assert said == [str(PROHIBITED), "ran\n"] * 6


def test_a_server_that_knows_only_the_standard_name_of_the_usual_key_exchange() -> None:
    ours, theirs = socket.socketpair()
    with closing(Transport(ours)) as client, closing(Transport(theirs)) as server:
        server.add_server_key(HOST_KEY)
        server.get_security_options().kex = ("curve25519-sha256",)
        server.start_server(event=threading.Event())
        client.start_client(timeout=5)
        assert client.get_remote_server_key().asbytes() == HOST_KEY.asbytes()


def test_a_server_that_allows_no_command(server: Server) -> None:
    server.max_sessions = 0
    with connect(server) as client, pytest.raises(paramiko.SSHException, match="see MaxSessions"):
        client.exec_command("true")
    assert server.logins == 2


@pytest.mark.parametrize(
    ("ended_by", "reason"),
    [
        (None, "the connection was closed"),
        (EOFError(), "the connection was closed"),
        (paramiko.ChannelException(PROHIBITED, "refused before"), "the connection was closed"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
    ],
)
def test_a_connection_that_has_ended_says_why(
    ended_by: Exception | None, reason: str, server: Server
) -> None:
    with connect(server) as client:
        transport = transport_of(client)
        sock = transport.sock
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)
        transport.join(10)
        assert not transport.is_alive()
        transport.saved_exception = ended_by
        with pytest.raises(paramiko.SSHException, match=reason):
            client.exec_command("true")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
def test_a_connection_breaks_that_nobody_confirms(server: Server) -> None:
    with connect(server) as client:
        sock = transport_of(client).sock
        assert isinstance(sock, socket.socket)
        option = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert option == SILENCE_SECONDS * 1000
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
