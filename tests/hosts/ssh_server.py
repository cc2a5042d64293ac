"""An SSH server on loopback that runs commands here, with what a test says of keys and ports."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

from deploy.hosts import ssh_config
from deploy.spec import HostSpec

HOST_KEY = paramiko.ECDSAKey.generate()
MAX_KEYS = 6
SUCCESSFUL, PARTLY, FAILED = 0, 1, 2
"""What paramiko calls AUTH_SUCCESSFUL and so on."""
OPENED, PROHIBITED, FULL = 0, 1, 2


@dataclass
class Server:
    """One server; it may be told other things between connections."""

    port: int = 0
    user: str = "alice"
    allowed: bytes = b""
    """The public key, or certificate, that gets in; with none, everybody does."""
    wanted_besides: str = ""
    """What is asked for after that key, e.g. a password."""
    shell: tuple[str, ...] = ("sh", "-c")
    version: str = ""
    """How it calls itself, if not as paramiko does."""
    cuts_off: bool = False
    """Whether it ends a connection on which a command is to run."""
    forwards: bool = False
    max_sessions: int = 10
    """Sessions at a time on one connection."""
    host_key: paramiko.PKey = HOST_KEY
    host_key_kinds: tuple[str, ...] = ()
    """How it proves itself, if not in all ways."""
    logins: int = 0
    offered: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def known_host(self) -> str:
        return f"[127.0.0.1]:{self.port} {HOST_KEY.get_name()} {HOST_KEY.get_base64()}\n"


@contextmanager
def serve(**settings: Any) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(port=listening.getsockname()[1], **settings)
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
        transport.add_server_key(server.host_key)
        if server.host_key_kinds:
            transport.get_security_options().key_types = server.host_key_kinds
        transport.local_version = server.version or transport.local_version
        transports.append(transport)
        transport.start_server(server=_Interface(server, transport), event=threading.Event())


class _Interface(paramiko.ServerInterface):
    # ruff: noqa: ARG002 - the arguments are paramiko's
    def __init__(self, server: Server, transport: paramiko.Transport) -> None:
        self._server = server
        self._transport = transport
        self._tried = 0
        self._sessions = 0
        server.logins += 1

    def get_allowed_auths(self, username: str) -> str:
        return self._server.wanted_besides or "publickey"

    def check_auth_none(self, username: str) -> int:
        return FAILED if self._server.allowed else SUCCESSFUL

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._tried += 1
        shown = key.public_blob.key_blob if key.public_blob else key.asbytes()
        self._server.offered.append(shown)
        if self._tried > MAX_KEYS:
            self._transport.close()
        if (username, shown) == (self._server.user, self._server.allowed):
            return PARTLY if self._server.wanted_besides else SUCCESSFUL
        return FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self._sessions >= self._server.max_sessions:
            return FULL
        self._sessions += 1
        return OPENED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._server.commands.append(command.decode())
        if self._server.cuts_off:
            self._transport.close()
        arguments = [*self._server.shell, command.decode()]
        threading.Thread(target=self._run, args=(arguments, channel), daemon=True).start()
        return True

    def _run(self, arguments: list[str], channel: paramiko.Channel) -> None:
        status = _run(arguments, channel)
        self._sessions -= 1
        with suppress(paramiko.SSHException, EOFError, OSError):  # the client may be gone
            # as shells say it of what a signal ended
            channel.send_exit_status(status if status >= 0 else 128 - status)
            channel.close()

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        if not self._server.forwards:
            return PROHIBITED
        threading.Thread(target=_forward, args=(self._transport, destination), daemon=True).start()
        return OPENED


def _run(arguments: list[str], channel: paramiko.Channel) -> int:
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
    return process.returncode


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
    # of several who wait for a channel, paramiko wakes one that another has taken it from
    channel = None
    for _ in range(10):
        channel = channel or transport.accept(1)
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


def configure(home: Path, server: Server, *lines: str) -> HostSpec:
    """A host that the inventory only names; the lines are those of its configuration."""
    own = [*lines, f"Port {server.port}", "HostName 127.0.0.1", "User alice"]
    (home / ".ssh/config").write_text("\n  ".join(["Host box", *own]) + "\n")
    ssh_config.read_endpoint.cache_clear()
    return HostSpec(name="box")
