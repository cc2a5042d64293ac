"""Routers whose memory has grown start again, one at a time: see tests/e2e/test_recycling.py."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

MIB = 1 << 20
ROUTERS = ("router-0:4000", "router-1:4000")


@pytest.fixture
def module(load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    loaded = load("atelier_recycling")

    async def at_once(seconds: float) -> None:
        loaded.GracefulShutdownManager.told.append(f"wait {seconds:g} s")

    monkeypatch.setattr(loaded.asyncio, "sleep", at_once)
    monkeypatch.setattr(
        loaded.os, "kill", lambda _, number: loaded.GracefulShutdownManager.told.append(number)
    )
    return loaded


def recycling(module: Any, own: int = 0, routers: tuple[str, ...] = ROUTERS, **more: Any) -> Any:
    settings = {"above_bytes": 800 * MIB, "limit_bytes": 1000 * MIB, "finish_seconds": 120}
    return module.Recycling(own=own, routers=routers, **settings, **({"has_database": True} | more))


def client(healthy: bool = True, ready: int = 200, db: str = "connected") -> httpx.AsyncClient:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health/readiness":
            assert request.url.host == "router-0"
            return httpx.Response(ready, json={"db": db})
        assert (request.url.host, request.url.path) == ("router-1", "/health/liveliness")
        if not healthy:
            raise httpx.ConnectError("refused")
        return httpx.Response(200)

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("asked", "may"),
    [
        ({}, True),
        ({"healthy": False}, False),
        ({"ready": 503}, False),
        ({"db": "disconnected"}, False),
    ],
)
def test_it_ends_only_while_others_answer_and_it_can_start(
    module: Any, asked: dict[str, Any], may: bool
) -> None:
    # however little memory is left
    for used in (801, 999):
        assert asyncio.run(module.may_end(recycling(module), used * MIB, client(**asked))) is may


def test_without_a_database_it_needs_none(module: Any) -> None:
    alone = recycling(module, has_database=False)
    assert asyncio.run(module.may_end(alone, 801 * MIB, client(db="Not connected")))


@pytest.mark.parametrize(
    ("open_requests", "used", "may"), [(0, 801, True), (1, 801, False), (1, 951, True)]
)
def test_the_only_router_waits_until_it_has_nothing_to_answer(
    module: Any, monkeypatch: pytest.MonkeyPatch, open_requests: int, used: int, may: bool
) -> None:
    monkeypatch.setattr(module, "get_in_flight_requests", lambda: open_requests)
    alone = recycling(module, routers=ROUTERS[:1])
    assert asyncio.run(module.may_end(alone, used * MIB, client())) is may


def test_routers_look_one_after_the_other(module: Any) -> None:
    """Each at seconds of its own, whenever it started."""
    for own, second in ((0, 0), (1, 15)):
        for started in (0, 7, 14.5, 15, 29, 30):
            look = started + recycling(module, own).seconds_to_next_look(started)
            assert look > started
            assert look % 30 == second


def steps(module: Any, used: list[int], may: bool, **settings: Any) -> list[Any]:
    """What a router does that looks at its memory until it ends."""

    async def answer(*_: Any) -> bool:
        return may

    module.GracefulShutdownManager.told.clear()
    left = iter(used)
    module.memory_in_use, module.may_end = lambda: next(left) * MIB, answer
    module.Recycling.seconds_to_next_look = lambda *_: 30
    asyncio.run(module.watch(recycling(module, **settings)))
    told: list[Any] = module.GracefulShutdownManager.told
    return told


def test_it_becomes_unhealthy_finishes_and_ends(module: Any) -> None:
    done = ["unhealthy", "wait 10 s", "finish within 120 s", signal.SIGTERM]
    assert steps(module, [700, 800, 801], may=True) == ["wait 30 s"] * 3 + done


def test_the_only_router_stays_healthy(module: Any) -> None:
    told = steps(module, [801], may=True, routers=ROUTERS[:1])
    assert told == ["wait 30 s", "finish within 120 s", signal.SIGTERM]


@pytest.mark.parametrize(
    ("used", "details"),
    [
        ("memory.current", "memory.stat"),
        ("memory/memory.usage_in_bytes", "memory/memory.stat"),
    ],
)
def test_files_that_can_be_read_again_are_not_counted(
    module: Any, tmp_path: Path, used: str, details: str
) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / used).write_text("1000\n")
    name = "inactive_file" if used == "memory.current" else "total_inactive_file"
    (tmp_path / details).write_text(f"anon 1\n{name} 400\n")
    assert module.memory_in_use(tmp_path) == 600


def test_a_host_that_counts_no_memory_recycles_nothing(module: Any, tmp_path: Path) -> None:
    assert module.memory_in_use(tmp_path) == 0
