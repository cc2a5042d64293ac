"""A local port that leads through SSH to a port which only the host reaches."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

CHUNK_BYTES = 65536


@contextmanager
def open_tunnel(ssh: paramiko.SSHClient, address: str, port: int) -> Iterator[int]:
    """Forward a free port of 127.0.0.1 to ``address:port`` as the SSH server sees it.

    Yields:
        The local port.
    """
    transport = ssh.get_transport()
    assert transport is not None  # noqa: S101 - the client is connected
    open_channel = transport.open_channel

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            peer = self.request.getpeername()
            with open_channel("direct-tcpip", (address, port), peer) as channel:
                _relay(self.request, channel)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
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
