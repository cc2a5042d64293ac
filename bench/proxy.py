"""A TCP proxy that delays what passes, each way by half of a round trip."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK_BYTES = 65536
Packets = queue.Queue[tuple[float, bytes]]


@contextmanager
def delaying_proxy(address: str, port: int, round_trip_seconds: float) -> Iterator[int]:
    """Listen on 127.0.0.1 and forward to ``address:port``.

    A connection is accepted at once, so that its first round trip, TCP's own, is not delayed.

    Yields:
        The local port.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        accept = (server, (address, port), round_trip_seconds / 2)
        threading.Thread(target=_accept, args=accept, daemon=True).start()
        yield int(server.getsockname()[1])


def _accept(server: socket.socket, target: tuple[str, int], delay: float) -> None:
    with suppress(OSError):  # closed
        while True:
            near, _ = server.accept()
            far = socket.create_connection(target)
            for source, sink in ((near, far), (far, near)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                packets: Packets = queue.Queue()
                for pump, end in ((_receive, source), (_send, sink)):
                    threading.Thread(target=pump, args=(end, packets, delay), daemon=True).start()


def _receive(source: socket.socket, packets: Packets, delay: float) -> None:
    data = b"more"
    while data:
        try:
            data = source.recv(CHUNK_BYTES)
        except OSError:
            data = b""
        packets.put((time.monotonic() + delay, data))


def _send(sink: socket.socket, packets: Packets, _delay: float) -> None:
    with suppress(OSError):  # the other side has gone
        while True:
            due, data = packets.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
