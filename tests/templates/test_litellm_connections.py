"""How engines are asked; tests/e2e/test_router.py shows that LiteLLM really does it so."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest


@pytest.fixture
def module(load: Callable[[str], Any]) -> Any:
    return load("atelier_connections")


def test_connecting_takes_5_s_at_most(module: Any) -> None:
    for timeout, seconds in (({}, 5), ({"connect": 300, "read": 300}, 5), ({"connect": 2}, 2)):
        request = SimpleNamespace(extensions={"timeout": dict(timeout)}, text="")
        asyncio.run(module.connect_soon(closing())(None, request))
        assert request.extensions["timeout"] == timeout | {"connect": seconds}


def closing(*errors: type[Exception]) -> Any:
    """A transport that fails in these ways, one after the other, and then answers."""
    left = list(errors)

    async def handle(_: Any, request: Any) -> str:
        if not left:
            return f"answer to {request.text}"
        raise httpx.ConnectError("LiteLLM's") from left.pop(0)("engine's")

    return handle


def send(module: Any, handle: Any) -> Any:
    request = SimpleNamespace(extensions={}, text="ping")
    return asyncio.run(module.connect_soon(handle)(None, request))


class ServerDisconnectedError(Exception):
    """As aiohttp's."""


@pytest.mark.parametrize("error", [ConnectionResetError, BrokenPipeError, ServerDisconnectedError])
def test_a_request_on_a_closed_connection_is_sent_once_more(
    module: Any, error: type[Exception]
) -> None:
    assert send(module, closing(error)) == "answer to ping"
    with pytest.raises(httpx.ConnectError):
        send(module, closing(error, error))
    with pytest.raises(httpx.ConnectError):
        send(module, closing(error, ConnectionRefusedError))


@pytest.mark.parametrize("error", [ConnectionRefusedError, TimeoutError])
def test_an_engine_that_is_gone_is_asked_once(module: Any, error: type[Exception]) -> None:
    with pytest.raises(httpx.ConnectError):
        send(module, closing(error))


def test_one_client_is_kept_for_all_requests(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.BaseOpenAILLM, "get_async_http_client", object)
    module.install(module.EngineKeys(Path("/none")))
    assert type(module.litellm.aclient_session) is object


# how busy an engine is

ADDRESS = "http://engine:8080/v1"


def to_engine() -> httpx.Request:
    return httpx.Request("POST", f"{ADDRESS}/completions")


async def close() -> None:
    """As the body of an answer."""


def test_a_request_is_open_until_its_answer_was_read(module: Any) -> None:
    async def handle(_: Any, request: Any) -> Any:
        assert module.open_requests(ADDRESS) == 1
        return SimpleNamespace(stream=SimpleNamespace(aclose=close), request=request)

    async def ask() -> None:
        answer = await module.counted(handle)(None, to_engine())
        assert module.open_requests(ADDRESS) == 1
        assert module.open_requests("http://other:8080/v1") == 0
        await answer.stream.aclose()
        assert module.open_requests(ADDRESS) == 0

    asyncio.run(ask())


def test_replicas_behind_one_link_are_counted_apart(module: Any) -> None:
    link = "http://link:8080"

    async def handle(_: Any, request: Any) -> Any:
        asked = f"{link}/replica-1/v1"
        counts = [module.open_requests(f"{link}/replica-{n}{end}") for n, end in BEHIND]
        assert (module.open_requests(asked), counts) == (1, [1, 0, 0])
        raise httpx.ConnectError("refused")

    request = httpx.Request("POST", f"{link}/replica-1/v1/chat/completions")
    with pytest.raises(httpx.ConnectError):
        asyncio.run(module.counted(handle)(None, request))


BEHIND = [(1, ""), (10, "/v1"), (2, "/v1")]
"""Replicas, and where their API is: Ollama's has no version."""


def test_a_request_that_fails_or_is_forgotten_is_not_open(module: Any) -> None:
    async def refuse(_: Any, request: Any) -> Any:
        raise httpx.ConnectError("refused")

    async def forget(_: Any, request: Any) -> Any:
        return SimpleNamespace(stream=SimpleNamespace(aclose=close), request=request)

    with pytest.raises(httpx.ConnectError):
        asyncio.run(module.counted(refuse)(None, to_engine()))
    assert module.open_requests(ADDRESS) == 0
    asyncio.run(module.counted(forget)(None, to_engine()))
    gc.collect()
    assert module.open_requests(ADDRESS) == 0


# streamed completions


def chunk(text: str) -> SimpleNamespace:
    return SimpleNamespace(object="text_completion", text=text)


async def ask(module: Any, answers: Any) -> Any:
    """Ask as LiteLLM does; the answer is not read yet."""
    module.install(module.EngineKeys(Path("/none")))
    sys_client = module.AsyncOpenAI
    sys_client.answer = staticmethod(answers)
    return await module.OpenAITextCompletion().async_streaming(
        api_base="http://engine/v1",
        api_key="k",
        timeout=1,
        max_retries=0,
        data={"prompt": "x"},
        model="m",
        logging_obj=None,
        organization=None,
    )


@pytest.mark.parametrize("texts", [[], ["a"], ["a", "b", ""], ["a", "b", "c", ""]])
def test_a_streamed_completion_arrives_as_it_was_sent(module: Any, texts: list[str]) -> None:
    sent = [chunk(text) for text in texts]

    async def engine() -> AsyncIterator[Any]:
        for each in sent:
            yield each

    async def read() -> list[Any]:
        wrapper = module.TextCompletionStreamWrapper()
        stream = await ask(module, lambda _: engine())
        return [wrapper.convert_to_text_completion_object(each) async for each in stream]

    assert asyncio.run(read()) == sent


def test_a_streamed_completion_fails_where_another_replica_can_be_tried(module: Any) -> None:
    """Before it is read: at once, or with the first token."""

    def at_once(data: Any) -> Any:
        raise ConnectionError

    async def with_the_first_token() -> AsyncIterator[Any]:
        raise ConnectionError
        yield

    for answers in (at_once, lambda _: with_the_first_token()):
        with pytest.raises(ConnectionError):
            asyncio.run(ask(module, answers))


def test_other_chunks_are_converted_by_litellm(module: Any) -> None:
    module.install(module.EngineKeys(Path("/none")))
    wrapper = module.TextCompletionStreamWrapper()
    assert wrapper.convert_to_text_completion_object("chunk") == "LiteLLM's chunk"
