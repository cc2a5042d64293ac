"""A Docker that takes questions and answers none, stops answering in between, or hangs up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.errors import ConnectionFailedError
from deploy.live import connection
from tests.conftest import declare

VERSION = b'{"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "24.0.5"}'
ANSWER = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


class Daemon:
    """Behind a socket of its own."""

    def __init__(self, path: Path) -> None:
        self.answers = True
        self.status = b"200 OK"
        self.hangs_up = 0
        """On so many of the next questions."""
        self.asked: list[str] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            while question := client.recv(65536):
                self.asked.append(question.split(b" ")[0].decode())
                if self.hangs_up:
                    self.hangs_up -= 1
                    return
                if self.answers:
                    client.sendall(ANSWER % (self.status, len(VERSION), VERSION))

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setattr(connection, "TIMEOUT_SECONDS", 1)
    daemon = Daemon(tmp_path / "docker.sock")
    yield daemon
    daemon.close()


def expect_it_is_said(refused: pytest.ExceptionInfo[ConnectionFailedError]) -> None:
    said = str(refused.value)
    assert said.startswith("host @local: Docker on this machine has not answered within 1 s\n")
    assert "fix: restart it there: sudo systemctl restart docker" in said


def test_one_that_never_answers(daemon: Daemon) -> None:
    daemon.answers = False
    began = time.monotonic()
    with (
        pytest.raises(ConnectionFailedError) as refused,
        connection.connect(declare().hosts[0]),
    ):
        pass
    expect_it_is_said(refused)
    assert time.monotonic() - began < 60


def test_one_that_stops_answering(daemon: Daemon) -> None:
    with connection.connect(declare().hosts[0]) as there:
        assert there.client.version()["Version"] == "24.0.5"
        daemon.answers = False
        with pytest.raises(ConnectionFailedError) as refused:
            there.client.containers.get("x")
    expect_it_is_said(refused)


@pytest.mark.parametrize("times", [1, 2])
def test_one_that_hangs_up_is_asked_once_more(daemon: Daemon, times: int) -> None:
    with connection.connect(declare().hosts[0]) as there:
        asked = len(daemon.asked)
        daemon.hangs_up = times
        if times == 1:
            assert there.client.version()["Version"] == "24.0.5"
        else:
            with pytest.raises(ConnectionFailedError, match="host @local: Docker of this machine"):
                there.client.version()
        assert daemon.asked[asked:] == ["GET", "GET"]


def test_what_it_may_have_done_already_is_not_asked_again(daemon: Daemon) -> None:
    with connection.connect(declare().hosts[0]) as there:
        daemon.hangs_up = 1
        with pytest.raises(ConnectionFailedError, match="host @local: Docker of this machine"):
            there.client.networks.prune()
        assert daemon.asked.count("POST") == 1


def test_a_way_that_breaks_names_its_host(daemon: Daemon) -> None:
    with connection.connect(declare().hosts[0]) as there:
        daemon.status = b"502 Bad Gateway"
        with pytest.raises(ConnectionFailedError) as refused:
            there.client.containers.list()
    assert str(refused.value).startswith("host @local: Docker of this machine does not answer: {")
