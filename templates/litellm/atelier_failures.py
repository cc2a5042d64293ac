"""What became of an attempt to ask an engine: whether the engine failed, and what a client is told.

A replica is left out when its engine failed: no connection, no answer in time, overload, a key
that it refuses. What a client asked wrongly never counts.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

ENGINE_FAILED = frozenset({401, 403, 408, 429, 502, 503, 504})
"""Answers that no client brings about: a refused key, a time-out, overload."""
CLOSED = frozenset({"ConnectionResetError", "BrokenPipeError", "ServerDisconnectedError"})
"""Errors of a connection that was open."""
CANNOT = re.compile(r"not support|n't support|unsupported|failed to parse|unmapped", re.IGNORECASE)
"""How engines and LiteLLM say, with status 500, that they cannot do what was asked."""


class Outcome(StrEnum):
    """What became of an attempt."""

    ANSWERED = "answered"
    SILENT = "silent"
    CUT = "cut"
    UNREACHABLE = "unreachable"


OUTCOMES = {
    "APIStatusError": Outcome.ANSWERED,
    "HTTPStatusError": Outcome.ANSWERED,
    "ReadTimeout": Outcome.SILENT,
    "ReadError": Outcome.CUT,
    "RemoteProtocolError": Outcome.CUT,
    "RequestError": Outcome.UNREACHABLE,
}
"""By errors of openai and httpx, particular ones first; LiteLLM's own derive from all of them."""


def engine_failed(error: BaseException) -> bool:
    """Whether an attempt failed because of the engine, and not because of what was asked."""
    status = getattr(error, "status_code", None)
    if status in {None, 500}:
        # LiteLLM gives 500 both to an answer with 500 and to a connection that failed
        return outcome(error) in {Outcome.SILENT, Outcome.CUT, Outcome.UNREACHABLE}
    return status in ENGINE_FAILED


def outcome(error: BaseException) -> Outcome | None:
    """What became of an attempt; causes of the cause are those of earlier attempts."""
    for cause in causes(error):
        kinds = {kind.__name__ for kind in type(cause).__mro__}
        if not type(cause).__module__.startswith("litellm") and kinds & OUTCOMES.keys():
            return next(found for name, found in OUTCOMES.items() if name in kinds)
    return None


def was_closed(error: BaseException) -> bool:
    """Whether the engine closed a connection before it answered."""
    return any(kind.__name__ in CLOSED for each in causes(error) for kind in type(each).__mro__)


def reason(error: BaseException) -> str:
    """What the log says of a failed attempt: nothing that was sent."""
    happened = " < ".join(type(each).__name__ for each in causes(error))
    return f"{happened}, status {getattr(error, 'status_code', None)}"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what led to it."""
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


def told_to_client(error: Exception, request: Mapping[str, Any]) -> tuple[int, str] | None:
    """Status and text of an error, where they are not what LiteLLM says."""
    status, model = getattr(error, "status_code", None), request.get("model")
    text = str(error).split("\n")[0].partition(" LiteLLM Retried")[0]
    if status == 501 or (status == 500 and CANNOT.search(text)):
        return 400, f"model {model} cannot do this: {text}"
    if status == 500 and outcome(error) == Outcome.CUT:
        return 503, f"an engine of {model} ended while it answered, see `atelier status`: ask again"
    if status in {408, 500} and outcome(error) == Outcome.UNREACHABLE:
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
