"""What listens for the entry: it is asked as HAProxy asks, and who has the sockets answers."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.render import TEMPLATES
from tests.e2e.site import free_port

PROGRAM = TEMPLATES / "listener" / "listen.py"


class Listener:
    def __init__(self, path: Path) -> None:
        self.path, self.ports = path / "sockets", (free_port(), free_port())
        self.start()

    def start(self) -> None:
        ports = [str(port) for port in self.ports]
        self.process = subprocess.Popen([sys.executable, str(PROGRAM), str(self.path), *ports])
        before = self.path.stat().st_mtime_ns if self.path.exists() else 0
        deadline = time.monotonic() + 60
        while not self.path.exists() or self.path.stat().st_mtime_ns == before:
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)

    def ask(self, question: bytes = b"_getsocks\n") -> list[socket.socket]:
        """As sock_get_old_sockets does: the number, the sockets with six bytes each, and thanks."""
        with socket.socket(socket.AF_UNIX) as way:
            way.settimeout(60)
            way.connect(str(self.path))
            way.sendall(question)
            number = way.recv(4, socket.MSG_WAITALL)
            if not number:
                return []
            [count] = struct.unpack("@i", number)
            about, descriptors, _, _ = socket.recv_fds(way, 4096, 252)
            way.sendall(bytes(4))
        assert about == bytes(6 * count)
        assert len(descriptors) == count
        return [socket.socket(fileno=each) for each in descriptors]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(tmp_path)
    yield made
    if made.process.poll() is None:
        made.stop()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def test_connections_wait_for_who_has_the_sockets(listener: Listener) -> None:
    for port in listener.ports:
        with connect(port) as early:
            early.sendall(b"early")
            sockets = {each.getsockname()[1]: each for each in listener.ask()}
            assert set(sockets) == set(listener.ports)
            accepted, _ = sockets[port].accept()
            assert accepted.recv(5) == b"early"


def test_one_after_the_other_has_the_same_sockets(listener: Listener) -> None:
    [old, _], [new, _] = listener.ask(), listener.ask()
    port = old.getsockname()[1]
    with connect(port):
        # what the one before has not accepted is not lost with it
        old.close()
        accepted, _ = new.accept()
        assert accepted.getsockname()[1] == port


def test_other_questions_get_nothing(listener: Listener) -> None:
    assert listener.ask(b"show info\n") == []
    # nor does a health check that says nothing end it
    with socket.socket(socket.AF_UNIX) as way:
        way.connect(str(listener.path))
    assert len(listener.ask()) == 2


def test_its_socket_is_for_root_alone_and_new_each_time(listener: Listener) -> None:
    assert listener.path.stat().st_mode & 0o777 == 0o600
    assert listener.stop() == 0
    listener.start()
    assert len(listener.ask()) == 2
