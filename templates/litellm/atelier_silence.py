"""Nothing of what people ask or are answered gets into the log, or into the rows of requests.

LiteLLM writes the texts of errors into both, and errors quote: vLLM names the value that a
parameter had, and LiteLLM gives an answer that it cannot read. What is kept is which error it was,
its status, and where it came from. Clients are told the text, but for the part that quotes them:
the web UI is a client, and has a log, too.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from atelier_failures import ENGINE_FAILED, causes, reason

LEFT_OUT = "without its text, which may quote what was asked"
REST_LEFT_OUT = "... (the rest quotes the request)"
SHORTEST = 8
"""Shorter pieces of a request stand in any text."""
LONGEST = 40
OWN = frozenset(
    {"model", "stream", "user", "tool_choice", "response_format", "metadata", "litellm_metadata"}
)
"""Parts of a request that hold nothing of what is asked, or never get to an engine. LiteLLM writes
into the last two who asks which model."""
CONTENTS = frozenset(
    {"messages", "prompt", "suffix", "input", "instructions", "system", "tools", "query"}
    | {"documents"}
)
"""Parts that hold what is asked, where only LiteLLM's view of a request is there."""
OF_VALUES = (ValueError, TypeError, LookupError)
"""Errors that name the value; pydantic's are the first of these, which LiteLLM checks what is asked
with before any engine does."""
LOGGERS = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "uvicorn.error", "asyncio")


def may_quote(error: BaseException) -> bool:
    """Whether its text may hold what was asked or answered.

    A refused key, a time-out, overload and faults of a database do not; what an engine says of a
    request may, and so may what Python or pydantic says of a value.
    """
    status = _status(error)
    if status in ENGINE_FAILED:
        return False
    return status is not None or any(
        isinstance(each, OF_VALUES) or type(each).__module__.startswith(("litellm", "openai"))
        for each in causes(error)
    )


def _status(error: BaseException) -> int | None:
    found = getattr(error, "status_code", None) or getattr(error, "code", None)
    return int(found) if str(found or "").isdigit() else None


def silent(record: logging.LogRecord) -> bool:
    """A filter that lets every record pass, without the texts of such errors."""
    raised = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    given = record.args if isinstance(record.args, tuple) else ()
    errors = [each for each in (*given, raised) if isinstance(each, BaseException)]
    hidden = [each for each in errors if may_quote(each)]
    if not hidden:
        return True
    message = record.getMessage()
    for text, instead in sorted(_texts(hidden), key=lambda pair: -len(pair[0])):
        message = message.replace(text, instead)
    record.msg, record.args = message, ()
    if raised is not None:
        frames = traceback.format_tb(raised.__traceback__)
        record.exc_text = "".join([*frames, f"{reason(raised)} ({LEFT_OUT})"])
        record.exc_info = None
    return True


def _texts(errors: list[BaseException]) -> Iterator[tuple[str, str]]:
    """What such errors say of themselves, and what is said in the place of that."""
    for error in errors:
        for each in causes(error):
            said = {str(each), str(getattr(each, "message", "")), str(getattr(each, "detail", ""))}
            for text in said:
                if len(text) >= SHORTEST:
                    yield text, f"{reason(error)} ({LEFT_OUT})"


def without_text(sanitize: Callable[..., Any]) -> Callable[..., Any]:
    """LiteLLM leaves prompts out of the rows of failed requests where it knows their names."""

    def sanitized(information: Any, original_exception: Any = None) -> Any:
        kept = sanitize(information, original_exception=original_exception)
        if not kept:
            return kept
        if isinstance(original_exception, BaseException):
            quotes, said = may_quote(original_exception), reason(original_exception)
        else:
            code = str(kept.get("error_code") or "")
            quotes = not (code.isdigit() and int(code) in ENGINE_FAILED)
            said = f"status {code}"
        if not quotes:
            return kept
        return {**kept, "error_message": f"{said} ({LEFT_OUT})", "traceback": ""}

    return sanitized


def without_quotes(text: str, request: Mapping[str, Any]) -> str:
    """The text of an error up to where it begins to quote a request."""
    body = (request.get("proxy_server_request") or {}).get("body")
    if body is None:
        # LiteLLM's own values are in it, too
        body = {name: value for name, value in request.items() if name in CONTENTS}
    asked = {name: value for name, value in body.items() if name not in OWN}
    places = [
        place
        for piece in _pieces(asked)
        if piece != body.get("model")
        for form in (piece, json.dumps(piece)[1:-1])
        if (place := text.find(form)) >= 0
    ]
    return text[: min(places)] + REST_LEFT_OUT if places else text


def _pieces(value: Any) -> Iterator[str]:
    """How every text in a request begins."""
    if isinstance(value, str):
        first = value.strip().split("\n")[0][:LONGEST]
        if len(first) >= SHORTEST:
            yield first
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _pieces(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _pieces(each)


def install() -> None:
    """Put these in the place of LiteLLM's."""
    from litellm.proxy.hooks import proxy_track_cost_callback
    from litellm.proxy.spend_tracking import spend_tracking_utils

    name = "sanitize_error_information_for_spend_logs"
    for module in (proxy_track_cost_callback, spend_tracking_utils):
        setattr(module, name, without_text(getattr(module, name)))
    for logger in LOGGERS:
        # before LiteLLM's own, which makes one text of everything
        logging.getLogger(logger).filters.insert(0, silent)
