"""How engines are asked: what of LiteLLM 1.106 is replaced.

- Connections to engines are kept, for completions too.
- Connecting never takes longer than 5 s.
- A request on a connection that the engine has just closed is sent once more.
- A streamed completion is asked for at once, so that another replica is tried if that fails, and
  arrives as the engine sent it: LiteLLM loses texts, indices and log probabilities.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import litellm
from atelier_engine_keys import EngineKeys, with_engine_key
from atelier_failures import was_closed
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport
from litellm.llms.openai.common_utils import BaseOpenAILLM
from litellm.llms.openai.completion.handler import OpenAITextCompletion
from litellm.utils import TextCompletionStreamWrapper
from openai import AsyncOpenAI

CONNECT_SECONDS = 5
"""A host that is gone does not even refuse."""

_open: defaultdict[bytes, WeakSet[Any]] = defaultdict(WeakSet)
"""Requests that are being answered, by host and port; weak, so that none is counted for ever."""


async def stream_completion(
    _: Any,
    *,
    api_base: str,
    api_key: str,
    timeout: float,
    max_retries: int,
    data: dict[str, Any],
    model: str,
    logging_obj: Any,
    **__: Any,
) -> AsyncIterator[Any]:
    """Ask an engine for a streamed completion; LiteLLM's way asks when the answer is read."""
    client = AsyncOpenAI(
        api_key=api_key,
        base_url=api_base,
        http_client=BaseOpenAILLM.get_async_http_client(),
        timeout=timeout,
        max_retries=max_retries,
    )
    raw = await client.completions.with_raw_response.create(**data)
    sent: deque[Any] = deque()
    counted = CustomStreamWrapper(
        completion_stream=_listen(raw.parse(), sent),
        model=model,
        custom_llm_provider="text-completion-openai",
        logging_obj=logging_obj,
        stream_options=data.get("stream_options"),
    )
    stream = _as_sent(counted, sent)
    return _resume([chunk async for chunk in _first(stream)], stream)


async def _listen(stream: AsyncIterator[Any], sent: deque[Any]) -> AsyncIterator[Any]:
    async for chunk in stream:
        sent.append(chunk)
        yield chunk


async def _as_sent(counted: AsyncIterator[Any], sent: deque[Any]) -> AsyncIterator[Any]:
    async for _ in counted:
        while sent:
            yield sent.popleft()
    while sent:
        yield sent.popleft()


async def _first(stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for chunk in stream:
        yield chunk
        return


async def _resume(begun: list[Any], stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
    for chunk in begun:
        yield chunk
    async for chunk in stream:
        yield chunk


def keep_completions(convert: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """What an engine sent as a completion stays as it is."""

    def converted(self: Any, chunk: Any) -> Any:
        is_completion = getattr(chunk, "object", "") == "text_completion"
        return chunk if is_completion else convert(self, chunk)

    return converted


def connect_soon(handle: Callable[..., Any]) -> Callable[..., Any]:
    """LiteLLM allows for as much time to connect as to answer, and takes a closed connection.

    An engine closes a connection that it keeps open when it likes, also as the next request is
    sent on it. Such a request is sent once more; if the engine is gone, this cannot connect.
    """

    async def handled(self: Any, request: Any) -> Any:
        timeout = request.extensions.setdefault("timeout", {})
        timeout["connect"] = min(timeout.get("connect") or CONNECT_SECONDS, CONNECT_SECONDS)
        try:
            return await handle(self, request)
        except Exception as error:
            if not was_closed(error):
                raise
        return await handle(self, request)

    return handled


def counted(handle: Callable[..., Any]) -> Callable[..., Any]:
    """A request is open from when it is sent until its answer was read or given up."""

    async def handled(self: Any, request: Any) -> Any:
        being_answered = _open[request.url.netloc]
        being_answered.add(request)
        try:
            answer = await handle(self, request)
        except BaseException:
            being_answered.discard(request)
            raise
        close = answer.stream.aclose

        async def closed() -> None:
            being_answered.discard(request)
            await close()

        answer.stream.aclose = closed
        return answer

    return handled


def open_requests(api_base: str) -> int:
    """How many requests of this router an engine is answering; a link leads to several."""
    base = urlsplit(api_base)
    path = base.path.removesuffix("/").removesuffix("/v1") + "/"
    being_answered = _open[base.netloc.encode()]
    return sum(request.url.path.startswith(path) for request in being_answered)


def install(keys: EngineKeys) -> None:
    """Put these in the place of LiteLLM's."""
    # otherwise each completion opens a connection of its own, which nobody closes
    litellm.aclient_session = BaseOpenAILLM.get_async_http_client()
    LiteLLMAiohttpTransport.handle_async_request = with_engine_key(
        counted(connect_soon(LiteLLMAiohttpTransport.handle_async_request)), keys
    )
    OpenAITextCompletion.async_streaming = stream_completion
    TextCompletionStreamWrapper.convert_to_text_completion_object = keep_completions(
        TextCompletionStreamWrapper.convert_to_text_completion_object
    )
