from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.fake_hub import FakeHub, run_hub

MB = 1000**2
SMALL = {"config.json": b'{"a": 1}', "sub/tokenizer.model": b"tokens"}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A hub with one repository: two small files, one large, and what nobody needs."""
    with run_hub() as server:
        large = {"model.safetensors": os.urandom(2 * MB)}
        server.publish("lab/coder", SMALL | large | {"original/weights.pth": b"0" * 1000})
        yield server
