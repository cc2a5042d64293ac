"""The module that LiteLLM loads, with LiteLLM and openai replaced at its border."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

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


class Shutdown:
    """As LiteLLM's GracefulShutdownManager: what it was told, in order."""

    told: ClassVar[list[str]] = []

    @classmethod
    def start_shutdown(cls) -> None:
        cls.told.append("unhealthy")

    @classmethod
    async def wait_for_drain(cls, timeout: float) -> int:
        cls.told.append(f"finish within {timeout} s")
        return 0


class NewClient:
    """As openai.AsyncOpenAI; ``answer`` says what the engine does."""

    answer: Any = None

    def __init__(self, **_: Any) -> None:
        create = SimpleNamespace(create=self._create)
        self.completions = SimpleNamespace(with_raw_response=create)

    async def _create(self, **data: Any) -> Any:
        stream = type(self).answer(data)
        return SimpleNamespace(parse=lambda: stream)


ROWS: dict[str, Any] = {"sanitize_error_information_for_spend_logs": lambda found, **_: found}
"""What LiteLLM makes of an error before it keeps it."""


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
        "litellm.proxy": {},
        "litellm.proxy._types": {"hash_token": lambda token: f"hash of {token}"},
        "litellm.proxy.auth": {},
        "litellm.proxy.auth.user_api_key_auth": {"hash_token": lambda token: f"hash of {token}"},
        "litellm.proxy.hooks": {"proxy_track_cost_callback": SimpleNamespace(**ROWS)},
        "litellm.proxy.spend_tracking": {"spend_tracking_utils": SimpleNamespace(**ROWS)},
        "litellm.proxy.middleware": {},
        "litellm.proxy.middleware.in_flight_requests_middleware": {
            "get_in_flight_requests": lambda: 0
        },
        "litellm.proxy.proxy_server": {
            "app": SimpleNamespace(middleware_stack=None),
            "prisma_client": None,
        },
        "litellm.proxy.shutdown": {},
        "litellm.proxy.shutdown.graceful_shutdown_manager": {
            "GracefulShutdownManager": type("GracefulShutdownManager", (Shutdown,), {})
        },
        "litellm.utils": {
            "TextCompletionStreamWrapper": type("TextCompletionStreamWrapper", (TextWrapper,), {})
        },
    }


SETTINGS: dict[str, Any] = {
    "priorities": {"completions": {}, "others": {}},
    "recycling": None,
    "web_ui": None,
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Loads a module of the hooks anew, from the directory of a configuration, as LiteLLM does."""
    for name, attributes in stand_ins().items():
        stand_in = ModuleType(name)
        vars(stand_in).update(attributes)
        monkeypatch.setitem(sys.modules, name, stand_in)
    for path in (TEMPLATES / "litellm").glob("atelier_*.py"):
        (tmp_path / path.name).write_text(path.read_text())
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    (tmp_path / "atelier.json").write_text(json.dumps(SETTINGS))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module
    for path in tmp_path.glob("atelier_*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def module(load: Callable[[str], Any]) -> Iterator[Any]:
    """What LiteLLM calls."""
    loaded = load("atelier_hooks")
    yield loaded
    loaded.log.removeFilter(loaded.explained)
    for logger in loaded.atelier_silence.LOGGERS:
        logging.getLogger(logger).removeFilter(loaded.atelier_silence.silent)
