"""Engines are asked with the key that they have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.services import litellm, litellm_config


@pytest.fixture
def module(load: Callable[[str], Any]) -> Any:
    return load("atelier_engine_keys")


class Engine:
    """An engine's transport: takes one key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.asked: list[str] = []
        self.closed = 0

    async def handle(self, _: Any, request: Any) -> Any:
        self.asked.append(request.headers["authorization"])
        is_taken = request.headers["authorization"] == f"Bearer {self.key}"
        return SimpleNamespace(status_code=200 if is_taken else 401, aclose=self._close)

    async def _close(self) -> None:
        self.closed += 1


def ask_engine(module: Any, engine: Engine, file: Path, authorization: str) -> int:
    request = SimpleNamespace(headers={"authorization": authorization})
    send = module.with_engine_key(engine.handle, module.EngineKeys(file))
    return int(asyncio.run(send(None, request)).status_code)


@pytest.mark.parametrize(
    ("known", "has", "status", "asked"),
    [
        ("new\n", "new", 200, ["new"]),
        ("new\nold\n", "new", 200, ["new"]),
        ("new\nold\n", "old", 200, ["new", "old"]),
        ("new\nold\n", "other", 401, ["new", "old"]),
        ("new\n", "other", 401, ["new"]),
    ],
)
def test_the_key_that_an_engine_has_is_found(
    module: Any, tmp_path: Path, known: str, has: str, status: int, asked: list[str]
) -> None:
    file, engine = tmp_path / "engine_keys", Engine(has)
    file.write_text(known)
    assert ask_engine(module, engine, file, module.KEY_PLACE) == status
    assert engine.asked == [f"Bearer {key}" for key in asked]
    assert engine.closed == len(asked) - 1


def test_another_key_is_read_at_once(module: Any, tmp_path: Path) -> None:
    file = tmp_path / "engine_keys"
    for key in ("one", "two"):
        file.write_text(f"{key}\n")
        assert ask_engine(module, Engine(key), file, module.KEY_PLACE) == 200


def test_other_requests_keep_their_own_key(module: Any, tmp_path: Path) -> None:
    file, engine = tmp_path / "engine_keys", Engine("theirs")
    file.write_text("ours\n")
    assert ask_engine(module, engine, file, "Bearer theirs") == 200
    assert engine.asked == ["Bearer theirs"]


def test_without_a_file_an_engine_refuses(module: Any, tmp_path: Path) -> None:
    assert ask_engine(module, Engine("x"), tmp_path / "none", module.KEY_PLACE) == 401


def test_the_placeholder_is_the_configurations(module: Any, load: Callable[[str], Any]) -> None:
    assert f"Bearer {litellm_config.KEY}" == module.KEY_PLACE
    assert PurePosixPath(load("atelier_hooks").LIVE) == litellm.LIVE
