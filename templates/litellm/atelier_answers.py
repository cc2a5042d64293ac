"""Headers that a failed request's client is told, also where LiteLLM leaves them out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Any, Send], Awaitable[None]]

RETRY_AFTER = "retry-after"
TOO_MANY_REQUESTS = 429

_told: ContextVar[dict[str, str] | None] = ContextVar("told", default=None)


def tell(error: BaseException) -> None:
    """Keep what an error says of when to ask again, for whoever writes the answer."""
    headers, told = getattr(error, "headers", None), _told.get()
    if told is not None and isinstance(headers, Mapping) and RETRY_AFTER in headers:
        told[RETRY_AFTER] = str(headers[RETRY_AFTER])


def with_headers(app: App) -> App:
    """LiteLLM's answers to completions lose the header that those to chats have."""

    async def answered(scope: Message, receive: Any, send: Send) -> None:
        # a mapping, because the request may be answered in a copy of this context
        told: dict[str, str] = {}
        _told.set(told)

        async def sent(message: Message) -> None:
            if message.get("status") == TOO_MANY_REQUESTS and RETRY_AFTER in told:
                named = {name.lower() for name, _ in message["headers"]}
                if RETRY_AFTER.encode() not in named:
                    value = told[RETRY_AFTER].encode()
                    message["headers"] = [*message["headers"], (RETRY_AFTER.encode(), value)]
            await send(message)

        await app(scope, receive, sent)

    return answered
