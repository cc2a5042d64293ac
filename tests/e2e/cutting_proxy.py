"""A TCP proxy that counts what passes, and cuts connections when it is told to."""

from __future__ import annotations

import contextlib
import socket
import threading


class CuttingProxy:
    """Forwards a port of this machine; ends a connection after so many bytes to the server."""

    def __init__(self, address: str, port: int) -> None:
        self._target = (address, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.sent_bytes = 0
        self.limit_bytes: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self, limit_bytes: int | None = None) -> None:
        """Count from nothing, and cut after so many bytes."""
        self.sent_bytes, self.limit_bytes = 0, limit_bytes

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for source, sink, counts in ((client, server, True), (server, client, False)):
                pump = threading.Thread(target=self._pump, args=(source, sink, counts), daemon=True)
                pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                if counts:
                    self.sent_bytes += len(data)
                if self.limit_bytes is not None and self.sent_bytes >= self.limit_bytes:
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
