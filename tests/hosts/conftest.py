"""A home directory, and a server that is known there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.hosts import ssh_config
from tests.hosts.ssh_server import Server, serve, write_known_hosts


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    ssh_config.read_endpoint.cache_clear()
    yield tmp_path
    ssh_config.read_endpoint.cache_clear()


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    with serve() as server:
        write_known_hosts(home, server)
        yield server
