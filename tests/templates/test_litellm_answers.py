"""A client that asks too often is told when to ask again, whatever it asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest


class LimitError(Exception):
    """As LiteLLM's."""

    def __init__(self, headers: Any) -> None:
        super().__init__()
        self.headers = headers


@pytest.fixture
def module(load: Callable[[str], Any]) -> Any:
    return load("atelier_answers")


def answer(
    module: Any, status: int, error: Exception, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> list[Any]:
    """Headers of what is sent where an error was met, in a task of its own as middleware does."""
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def endpoint() -> None:
            module.tell(error)

        await asyncio.get_running_loop().create_task(endpoint())
        await send({"type": "http.response.start", "status": status, "headers": [*headers]})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(module.with_headers(app)({"type": "http"}, None, send))
    assert sent[1] == {"type": "http.response.body", "body": b""}
    found: list[Any] = sent[0]["headers"]
    return found


LIMIT = LimitError({"retry-after": 60, "another": "x"})


def test_it_is_told_once(module: Any) -> None:
    assert answer(module, 429, LIMIT) == [(b"retry-after", b"60")]
    own = ((b"Retry-After", b"7"),)
    assert answer(module, 429, LIMIT, own) == [*own]


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, LIMIT), (429, LimitError(None)), (429, LimitError({})), (429, ValueError())],
)
def test_nothing_else_is_told(module: Any, status: int, error: Exception) -> None:
    assert answer(module, status, error) == []


def test_an_error_outside_a_request_is_nobodys(module: Any) -> None:
    module.tell(LIMIT)
