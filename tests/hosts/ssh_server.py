"""An SSH server on loopback that runs commands here, with what a test says of keys and ports."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import paramiko

HOST_KEY = paramiko.ECDSAKey.generate()
MAX_KEYS = 6
SUCCESSFUL, FAILED = 0, 2
"""What paramiko calls AUTH_SUCCESSFUL and AUTH_FAILED."""
OPENED, PROHIBITED = 0, 1


@dataclass
class Server:
    """One server; it may be told other things between connections."""

    port: int = 0
    user: str = "alice"
    allowed: bytes = b""
    """The public key that gets in; with none, everybody does."""
    shell: tuple[str, ...] = ("sh", "-c")
    forwards: bool = False
    offered: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def known_host(self) -> str:
        return f"[127.0.0.1]:{self.port} {HOST_KEY.get_name()} {HOST_KEY.get_base64()}\n"


@contextmanager
def serve() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(port=listening.getsockname()[1])
        transports: list[paramiko.Transport] = []
        threading.Thread(target=_accept, args=(listening, server, transports), daemon=True).start()
        yield server
        listening.shutdown(socket.SHUT_RDWR)
    for transport in transports:
        transport.close()


def _accept(listening: socket.socket, server: Server, transports: list[paramiko.Transport]) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        transport = paramiko.Transport(connection)
        transport.add_server_key(HOST_KEY)
        transports.append(transport)
        transport.start_server(server=_Interface(server, transport), event=threading.Event())


class _Interface(paramiko.ServerInterface):
    # ruff: noqa: ARG002 - the arguments are paramiko's
    def __init__(self, server: Server, transport: paramiko.Transport) -> None:
        self._server = server
        self._transport = transport
        self._tried = 0

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_none(self, username: str) -> int:
        return FAILED if self._server.allowed else SUCCESSFUL

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._tried += 1
        self._server.offered.append(key.asbytes())
        if self._tried > MAX_KEYS:
            self._transport.close()
        if (username, key.asbytes()) == (self._server.user, self._server.allowed):
            return SUCCESSFUL
        return FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPENED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._server.commands.append(command.decode())
        arguments = [*self._server.shell, command.decode()]
        threading.Thread(target=_run, args=(arguments, channel), daemon=True).start()
        return True

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        if not self._server.forwards:
            return PROHIBITED
        threading.Thread(target=_forward, args=(self._transport, destination), daemon=True).start()
        return OPENED


def _run(arguments: list[str], channel: paramiko.Channel) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        threading.Thread(target=_feed, args=(channel, process), daemon=True).start()
        errors = threading.Thread(
            target=_copy, args=(process.stderr, channel.sendall_stderr), daemon=True
        )
        errors.start()
        _copy(process.stdout, channel.sendall)
        errors.join()
    channel.send_exit_status(process.returncode)
    channel.close()


def _feed(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    try:
        while data := channel.recv(4096):
            process.stdin.write(data)
        process.stdin.close()
    except (OSError, ValueError):
        return


def _copy(pipe, send) -> None:  # type: ignore[no-untyped-def]
    try:
        while data := pipe.read(4096):
            send(data)
    except OSError:
        return


def _forward(transport: paramiko.Transport, destination: tuple[str, int]) -> None:
    channel = transport.accept(10)
    assert channel
    with socket.create_connection(destination) as there:

        def back() -> None:
            with channel, suppress(OSError):
                while data := there.recv(4096):
                    channel.sendall(data)

        threading.Thread(target=back, daemon=True).start()
        while data := channel.recv(4096):
            there.sendall(data)


def write_known_hosts(home: Path, server: Server) -> None:
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh/known_hosts").write_text(server.known_host)
