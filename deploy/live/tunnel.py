"""Local sockets that lead through SSH to what only the host reaches."""

from __future__ import annotations

import select
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

CHUNK_BYTES = 65536
CLOSE_SECONDS = 0.02
"""How often a socket looks whether it is to close; whoever closes it waits for that."""
OpenChannel = Callable[[], paramiko.Channel]


@contextmanager
def open_port(ssh: paramiko.SSHClient, address: str, port: int) -> Iterator[int]:
    """Forward a free port of 127.0.0.1 to ``address:port`` as the SSH server sees it.

    Yields:
        The local port.
    """

    def open_channel() -> paramiko.Channel:
        return _transport(ssh).open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0))

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _handler(open_channel))
    with _serve(server):
        yield int(server.socket.getsockname()[1])


@contextmanager
def open_command(ssh: paramiko.SSHClient, command: str, first_line: str = "") -> Iterator[Path]:
    """Make a socket file, for this user alone, that talks to a command's standard input and output.

    Args:
        ssh: the connection.
        command: what is run on the host.
        first_line: what it reads before anything else, e.g. sudo a password.

    Yields:
        Path of the socket; each connection to it runs the command anew.
    """

    def open_channel() -> paramiko.Channel:
        channel = _transport(ssh).open_session()
        channel.exec_command(command)
        if first_line:
            channel.sendall(first_line.encode())
        return channel

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "socket"
        server = socketserver.ThreadingUnixStreamServer(str(path), _handler(open_channel))
        with _serve(server):
            yield path


def _transport(ssh: paramiko.SSHClient) -> paramiko.Transport:
    transport = ssh.get_transport()
    if transport is None:
        raise paramiko.SSHException("the connection was closed")
    return transport


def _handler(open_channel: OpenChannel) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with open_channel() as channel:
                _relay(self.request, channel)

    return Handler


ServerType = socketserver.ThreadingTCPServer | socketserver.ThreadingUnixStreamServer


@contextmanager
def _serve(server: ServerType) -> Iterator[None]:
    server.daemon_threads = True
    with server:
        threading.Thread(target=server.serve_forever, args=(CLOSE_SECONDS,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _relay(local: socket.socket, channel: paramiko.Channel) -> None:
    """Copy both ways until one side closes."""
    ends: dict[socket.socket | paramiko.Channel, socket.socket | paramiko.Channel]
    ends = {local: channel, channel: local}
    while True:
        readable, _, _ = select.select(list(ends), [], [])
        for end in readable:
            data = end.recv(CHUNK_BYTES)
            if not data:
                return
            ends[end].sendall(data)
