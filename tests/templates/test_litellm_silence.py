"""What LiteLLM logs and keeps of errors holds nothing of what was asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

ASKED = "def my_secret_function(password):"
QUOTED = '{"messages": [{"content": "' + ASKED + '"}]}'
PARAMETER = "[{'type': 'float_parsing', 'loc': ('body', 'temperature'), 'input': '"
TEXT = f"OpenAIException - {PARAMETER}{QUOTED}'}}]"
REQUEST = {"proxy_server_request": {"body": {"model": "m", "messages": [{"content": ASKED}]}}}


class BadRequestError(Exception):
    __module__ = "litellm.exceptions"

    def __init__(self, status_code: int | None, message: str = TEXT) -> None:
        super().__init__(message)
        self.status_code, self.message = status_code, message


@pytest.fixture
def silence(load: Callable[[str], Any]) -> Any:
    return load("atelier_silence")


def logged(silence: Any, text: str, *args: Any, error: Exception | None = None) -> str:
    raised = None
    if error is not None:
        try:
            raise error
        except Exception as caught:
            raised = (type(caught), caught, caught.__traceback__)
    record = logging.LogRecord("LiteLLM Proxy", logging.ERROR, "x", 1, text, args, raised)
    assert silence.silent(record)
    return logging.Formatter().format(record)


@pytest.mark.parametrize("status", [400, 404, 422, 500, 200, None])
def test_texts_that_may_quote_are_left_out_of_the_log(silence: Any, status: int | None) -> None:
    error = BadRequestError(status)
    said = logged(silence, "Exception occured - litellm_call_id=%s - %s", "7", error)
    assert ASKED not in said
    assert said.startswith("Exception occured - litellm_call_id=7 - BadRequestError, status")
    # already in the text, and with where it came from
    said = logged(silence, f"failed: {error}", error=error)
    assert ASKED not in said
    assert "in logged" in said


def of_pydantic() -> Exception:
    try:
        TypeAdapter(int).validate_python(ASKED)
    except ValueError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "error", [of_pydantic(), ValueError(f"not a number: {ASKED}"), KeyError(ASKED)], ids=repr
)
def test_errors_that_name_a_value_are_left_out(silence: Any, error: Exception) -> None:
    """LiteLLM looks at what is to be ranked before it asks an engine, and logs what is wrong."""
    assert ASKED in str(error)
    assert ASKED not in logged(silence, "Error in rerank: %s", error)
    keep = silence.without_text(lambda found, **_: found)
    assert ASKED not in str(keep({"error_message": str(error)}, original_exception=error))


def test_causes_are_left_out_too(silence: Any) -> None:
    outer = BadRequestError(500, "something else is wrong")
    outer.__cause__ = BadRequestError(None)
    assert ASKED not in logged(silence, f"failed: {outer}: {outer.__cause__}", error=outer)


@pytest.mark.parametrize("status", [401, 408, 429, 502, 503, 504])
def test_what_an_operator_must_know_is_kept(silence: Any, status: int) -> None:
    error = BadRequestError(status, "no engine answers")
    assert "no engine answers" in logged(silence, "Exception - %s", error)
    other = RuntimeError("the database is away")
    assert "the database is away" in logged(silence, "Exception - %s", other, error=other)
    assert logged(silence, "plain %s", "text") == "plain text"


def test_rows_of_failed_requests_keep_no_text(silence: Any) -> None:
    def sanitize(found: Any, original_exception: Any = None) -> Any:
        return found

    keep = silence.without_text(sanitize)
    row = {"error_message": TEXT, "traceback": TEXT, "error_code": "400", "error_class": "B"}
    for kept in (keep(row, original_exception=BadRequestError(400)), keep(row)):
        assert ASKED not in str(kept)
        assert (kept["error_code"], kept["error_class"]) == ("400", "B")
    away = row | {"error_code": "503", "error_message": "away"}
    assert keep(away, original_exception=BadRequestError(503, "away")) == away
    assert keep(away) == away
    assert keep(None) is None


def test_clients_are_told_up_to_where_they_are_quoted(silence: Any) -> None:
    said = silence.without_quotes(TEXT, REQUEST)
    assert said.startswith("OpenAIException - [{'type': 'float_parsing', 'loc': ('body', 'tempera")
    assert said.endswith(silence.REST_LEFT_OUT)
    assert ASKED not in said
    plain = "request (13989 tokens) exceeds the available context size of m"
    assert silence.without_quotes(plain, REQUEST) == plain
    # what LiteLLM writes into a request is no part of what was asked
    own = {"model": "tiny-coder", "input": "x", "metadata": {"model_group": "tiny-coder"}}
    for request in (own, own | {"options": ["tiny-coder"]}):
        cannot = "model tiny-coder cannot do this: no embeddings"
        assert silence.without_quotes(cannot, request) == cannot


def test_it_sees_errors_before_others_make_text_of_them(
    module: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def flatten(record: logging.LogRecord) -> bool:
        record.msg, record.args = record.getMessage(), ()
        return True

    logger = logging.getLogger("LiteLLM Router")
    logger.addFilter(flatten)
    try:
        module.atelier_silence.install()
        logger.error("Exception - %s", BadRequestError(400))
    finally:
        logger.removeFilter(flatten)
        for name in module.atelier_silence.LOGGERS:
            logging.getLogger(name).removeFilter(module.atelier_silence.silent)
    assert caplog.messages
    assert ASKED not in caplog.text


def test_the_hook_tells_the_client_so(module: Any) -> None:
    error = BadRequestError(400)
    told = asyncio.run(module.hooks.async_post_call_failure_hook(REQUEST, error, None))
    assert told.status_code == 400
    assert ASKED not in told.detail
    assert error.message == told.detail
    cannot = BadRequestError(501, f"not supported: {QUOTED}")
    told = asyncio.run(module.hooks.async_post_call_failure_hook(REQUEST, cannot, None))
    assert told.status_code == 400
    assert ASKED not in told.detail
    # what the router itself says of keys, limits and its database stays as it is
    for own in (BadRequestError(401), BadRequestError(429), BadRequestError(None)):
        assert asyncio.run(module.hooks.async_post_call_failure_hook(REQUEST, own, None)) is None
        assert own.message == TEXT
    plain = BadRequestError(400, "too long")
    assert asyncio.run(module.hooks.async_post_call_failure_hook(REQUEST, plain, None)) is None


def test_a_status_that_is_none_becomes_500(module: Any) -> None:
    for said, told in (("422", 422), (500, 500), ("insufficient_quota", 500), (200, 500)):
        assert module.failure_status(said) == told
