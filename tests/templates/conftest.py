"""The module that LiteLLM loads, with LiteLLM and openai replaced at its border."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from deploy.render import TEMPLATES


class RefusalError(Exception):
    """As fastapi's HTTPException."""

    def __init__(self, status_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status_code, self.detail = status_code, detail


class TextHandler:
    async_streaming: Any = None


class TextWrapper:
    def convert_to_text_completion_object(self, chunk: Any) -> Any:
        return f"LiteLLM's {chunk}"


class Transport:
    async def handle_async_request(self, request: Any) -> None:
        """Connect."""


class Counter:
    """As CustomStreamWrapper: reads the engine's chunks, gives others, and not as many."""

    def __init__(self, *, completion_stream: AsyncIterator[Any], **_: Any) -> None:
        self.stream = completion_stream

    async def __aiter__(self) -> AsyncIterator[str]:
        position = 0
        async for _ in self.stream:
            position += 1
            if position % 2:
                yield "LiteLLM's own"


class NewClient:
    """As openai.AsyncOpenAI; ``answer`` says what the engine does."""

    answer: Any = None

    def __init__(self, **_: Any) -> None:
        create = SimpleNamespace(create=self._create)
        self.completions = SimpleNamespace(with_raw_response=create)

    async def _create(self, **data: Any) -> Any:
        stream = type(self).answer(data)
        return SimpleNamespace(parse=lambda: stream)


def stand_ins() -> dict[str, dict[str, Any]]:
    http = SimpleNamespace(get_async_http_client=lambda: None)
    return {
        "fastapi": {"HTTPException": RefusalError},
        "openai": {"AsyncOpenAI": type("AsyncOpenAI", (NewClient,), {})},
        "litellm": {},
        "litellm.integrations": {},
        "litellm.integrations.custom_logger": {"CustomLogger": type("CustomLogger", (), {})},
        "litellm.litellm_core_utils": {},
        "litellm.litellm_core_utils.streaming_handler": {"CustomStreamWrapper": Counter},
        "litellm.llms": {},
        "litellm.llms.custom_httpx": {},
        "litellm.llms.custom_httpx.aiohttp_transport": {
            "LiteLLMAiohttpTransport": type("LiteLLMAiohttpTransport", (Transport,), {})
        },
        "litellm.llms.openai": {},
        "litellm.llms.openai.common_utils": {"BaseOpenAILLM": http},
        "litellm.llms.openai.completion": {},
        "litellm.llms.openai.completion.handler": {
            "OpenAITextCompletion": type("OpenAITextCompletion", (TextHandler,), {})
        },
        "litellm.utils": {
            "TextCompletionStreamWrapper": type("TextCompletionStreamWrapper", (TextWrapper,), {})
        },
    }


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The hooks, loaded as LiteLLM loads them: from a file, unknown to sys.modules."""
    for name, attributes in stand_ins().items():
        stand_in = ModuleType(name)
        vars(stand_in).update(attributes)
        monkeypatch.setitem(sys.modules, name, stand_in)
    spec = importlib.util.spec_from_file_location(
        "atelier_hooks", TEMPLATES / "litellm" / "atelier_hooks.py"
    )
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    yield loaded
    loaded.log.removeFilter(loaded.explained)
