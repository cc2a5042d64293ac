from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_hub import FakeHub, run_hub

MB = 1000**2
SMALL = {"config.json": b'{"a": 1}', "sub/tokenizer.model": b"tokens"}


def publish(server: FakeHub) -> FakeHub:
    """One repository: two small files, one large, and what nobody needs."""
    large = {"model.safetensors": os.urandom(2 * MB)}
    server.publish("lab/coder", SMALL | large | {"original/weights.pth": b"0" * 1000})
    return server


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with run_hub() as server:
        yield publish(server)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate that nobody knows, in one file."""
    path = tmp_path_factory.mktemp("tls") / "hub.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = path.with_name("key.pem")
    subprocess.run(
        [*command, *names, "-keyout", str(key), "-out", str(path)], check=True, capture_output=True
    )
    path.write_text(path.read_text() + key.read_text())
    return path


@pytest.fixture
def tls_hub(certificate: Path) -> Iterator[FakeHub]:
    """As behind a proxy that looks into TLS."""
    with run_hub(certificate=certificate) as server:
        yield publish(server)
