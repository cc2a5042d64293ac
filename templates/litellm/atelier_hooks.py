"""What Atelier adds to LiteLLM 1.106; LiteLLM loads this file because config.yaml names it.

- A replica is left out when its engine failed: no connection, no answer in time, overload, a key
  that it refuses. What a client asked wrongly never counts, and one replica is always left.
- What a model cannot do is an error of the client (400), not of the server.
- A time-out names the setting that allows for more; connecting never takes longer than 5 s.
- A request on a connection that the engine has just closed is sent once more.
- A streamed completion is asked for at once, so that another replica is tried if that fails, and
  arrives as the engine sent it: LiteLLM loses texts, indices and log probabilities.

LiteLLM's own cooldowns are off: they take a request that an engine refuses for a failed engine.
Hooks: https://docs.litellm.ai/docs/proxy/call_hooks
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport
from litellm.llms.openai.common_utils import BaseOpenAILLM
from litellm.llms.openai.completion.handler import OpenAITextCompletion
from litellm.utils import TextCompletionStreamWrapper
from openai import AsyncOpenAI

CONNECT_SECONDS = 5
"""A host that is gone does not even refuse."""
SHORTEST_SECONDS = 15
LONGEST_SECONDS = 240
ENGINE_FAILED = frozenset({401, 403, 408, 429, 502, 503, 504})
"""Answers that no client brings about: a refused key, a time-out, overload."""
CLOSED = frozenset({"ConnectionResetError", "BrokenPipeError", "ServerDisconnectedError"})
"""Errors of a connection that was open."""
TIMEOUTS = frozenset({"timeout", "stream_timeout", "request_timeout"})
CANNOT = re.compile(r"not support|n't support|unsupported|failed to parse|unmapped", re.IGNORECASE)
"""How engines and LiteLLM say, with status 500, that they cannot do what was asked."""

log = logging.getLogger("LiteLLM Proxy")


class Outcome(StrEnum):
    """What became of an attempt."""

    ANSWERED = "answered"
    SILENT = "silent"
    UNREACHABLE = "unreachable"


OUTCOMES = {
    "APIStatusError": Outcome.ANSWERED,
    "HTTPStatusError": Outcome.ANSWERED,
    "ReadTimeout": Outcome.SILENT,
    "RequestError": Outcome.UNREACHABLE,
}
"""By errors of openai and httpx, particular ones first; LiteLLM's own derive from all of them."""


def engine_failed(error: BaseException) -> bool:
    """Whether an attempt failed because of the engine, and not because of what was asked."""
    status = getattr(error, "status_code", None)
    if status in {None, 500}:
        # LiteLLM gives 500 both to an answer with 500 and to a connection that failed
        return outcome(error) in {Outcome.SILENT, Outcome.UNREACHABLE}
    return status in ENGINE_FAILED


def outcome(error: BaseException) -> Outcome | None:
    """What became of an attempt; causes of the cause are those of earlier attempts."""
    for cause in _causes(error):
        kinds = {kind.__name__ for kind in type(cause).__mro__}
        if not type(cause).__module__.startswith("litellm") and kinds & OUTCOMES.keys():
            return next(found for name, found in OUTCOMES.items() if name in kinds)
    return None


def was_closed(error: BaseException) -> bool:
    """Whether the engine closed a connection before it answered."""
    return any(kind.__name__ in CLOSED for each in _causes(error) for kind in type(each).__mro__)


def _reason(error: BaseException) -> str:
    """What the log says of a failed attempt: nothing that was sent."""
    happened = " < ".join(type(each).__name__ for each in _causes(error))
    return f"{happened}, status {getattr(error, 'status_code', None)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def explained(record: logging.LogRecord) -> bool:
    """Errors of clients and engines are logged in a line, without 80 lines of LiteLLM's calls."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if error is not None:
        status = getattr(error, "status_code", None)
        if outcome(error) or (isinstance(status, int) and 400 <= status < 500):
            record.exc_info = record.exc_text = None
    return True


class Absence:
    """How long a replica is left out."""

    def __init__(self, until: float, seconds: float) -> None:
        self.until, self.seconds = until, seconds


class LeftOut:
    """The replicas that get no requests for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._absences: dict[str, Absence] = {}

    def add(self, replica: str) -> bool:
        """Leave a replica out; says whether it was not left out before."""
        if replica in self._absences:
            return False
        self._absences[replica] = Absence(self._clock() + SHORTEST_SECONDS, SHORTEST_SECONDS)
        return True

    def remove(self, replica: str) -> bool:
        """It answered; says whether it was left out."""
        return self._absences.pop(replica, None) is not None

    def choose(self, replicas: list[str]) -> list[str]:
        """Those that a request may go to; one whose time is over is tried by one request alone."""
        present = [replica for replica in replicas if replica not in self._absences]
        return (present and self._on_trial(replicas)) or present or replicas

    def _on_trial(self, replicas: list[str]) -> list[str]:
        for replica in replicas:
            absence = self._absences.get(replica)
            if absence and absence.until <= self._clock():
                absence.seconds = min(2 * absence.seconds, LONGEST_SECONDS)
                absence.until = self._clock() + absence.seconds
                return [replica]
        return []


def told_to_client(error: Exception, request: Mapping[str, Any]) -> tuple[int, str] | None:
    """Status and text of an error, where they are not what LiteLLM says."""
    status = getattr(error, "status_code", None)
    text = str(error).split("\n")[0].partition(" LiteLLM Retried")[0]
    if status == 501 or (status == 500 and CANNOT.search(text)):
        return 400, f"model {request.get('model')} cannot do this: {text}"
    if status in {408, 500} and outcome(error) == Outcome.UNREACHABLE:
        model = request.get("model")
        return 503, f"no engine of {model} can be reached: see what `atelier status` says of it"
    if status == 408:
        return 504, _timed_out(request)
    return None


def _timed_out(request: Mapping[str, Any]) -> str:
    setting = "stream_timeout_seconds" if request.get("stream") else "request_timeout_seconds"
    return (
        f"router.{setting}: the engine of {request.get('model')} sent nothing for as long as this"
        " allows. Reading a long prompt takes minutes on a CPU: raise the setting, or ask for"
        " less. If short prompts fail too, the engine hangs: see its log."
    )


class Hooks(CustomLogger):  # type: ignore[misc]
    """What LiteLLM calls."""

    def __init__(self, left_out: LeftOut | None = None) -> None:
        super().__init__()
        self.left_out = left_out or LeftOut()

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> dict[str, Any]:
        """Only the operator says how long an engine may take: a client's 1 ms is no failure."""
        return {name: value for name, value in data.items() if name not in TIMEOUTS}

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Any,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,
    ) -> list[dict[str, Any]]:
        """The replicas that a request may go to, without those that it failed on."""
        failed = (request_kwargs or {}).get("_excluded_deployment_ids") or ()
        ids = [row["model_info"]["id"] for row in healthy_deployments]
        chosen = self.left_out.choose([each for each in ids if each not in failed])
        return [row for row in healthy_deployments if row["model_info"]["id"] in chosen]

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, Any],
        exception: Exception,
        call_type: Any,
        fallback_depth: int | None = None,
    ) -> None:
        """An attempt failed: its replica is left out if the engine failed."""
        replica = (request_data.get("model_info") or {}).get("id")
        if replica and engine_failed(exception) and self.left_out.add(replica):
            log.warning("%s left out: %s", replica, _reason(exception))

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """A replica answered."""
        replica = (kwargs.get("litellm_params", {}).get("model_info") or {}).get("id")
        if self.left_out.remove(replica):
            log.warning("%s answers again", replica)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Any,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> HTTPException | None:
        """A request failed: what its client is told."""
        told = told_to_client(original_exception, request_data)
        if told is None:
            return None
        # /v1/messages does not look at what is returned here, but only at the error
        original_exception.status_code, original_exception.message = told
        return HTTPException(*told)


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


LiteLLMAiohttpTransport.handle_async_request = connect_soon(
    LiteLLMAiohttpTransport.handle_async_request
)
OpenAITextCompletion.async_streaming = stream_completion
TextCompletionStreamWrapper.convert_to_text_completion_object = keep_completions(
    TextCompletionStreamWrapper.convert_to_text_completion_object
)
log.addFilter(explained)
hooks = Hooks()
