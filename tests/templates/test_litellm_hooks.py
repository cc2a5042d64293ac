"""What Atelier adds to LiteLLM; tests/e2e/test_router.py shows that LiteLLM really calls it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

# openai may use a copy of httpx that has another name
REQUEST: Any = httpx.Request("POST", "http://engine/v1/chat/completions")
GROUP = [{"model_info": {"id": name}} for name in ("a", "b")]
NOBODY = SimpleNamespace(api_key=None)


def mapped(status: int | None, cause: BaseException | None, text: str = "boom") -> Exception:
    """An error as LiteLLM makes it: of a class of openai's, whatever happened."""
    kind = type("InternalServerError", (openai.APIConnectionError,), {"__module__": "litellm.x"})
    error: Exception = kind(message=text, request=REQUEST)
    error.status_code = status  # type: ignore[attr-defined]
    error.__context__ = cause
    return error


def answered(status: int) -> Exception:
    """What openai raises for an engine's answer."""
    response: Any = httpx.Response(status, request=REQUEST)
    return openai.APIStatusError("no", response=response, body=None)


def refused() -> Exception:
    """What openai raises where there is no connection."""
    error = openai.APIConnectionError(request=REQUEST)
    error.__cause__ = httpx.ConnectError("refused")
    return error


def after(error: Exception, earlier: Exception) -> Exception:
    """An error of a second attempt: Python chains it to that of the first."""
    error.__context__ = earlier
    return error


@pytest.mark.parametrize(
    ("status", "cause", "failed"),
    [
        (500, refused(), True),
        (500, httpx.ReadError("reset"), True),
        (None, refused(), True),
        (408, None, True),
        (408, httpx.ReadTimeout("silent"), True),
        (429, answered(429), True),
        (503, answered(503), True),
        (401, answered(401), True),
        (500, answered(500), False),
        (500, after(answered(500), refused()), False),
        (500, None, False),
        (400, answered(400), False),
        (404, answered(404), False),
        (413, answered(413), False),
        (422, answered(422), False),
        (501, answered(501), False),
    ],
)
def test_whose_fault_an_attempt_was(
    module: Any, status: int | None, cause: Exception | None, failed: bool
) -> None:
    assert module.engine_failed(mapped(status, cause)) is failed


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def hooks_at(module: Any, clock: Clock) -> Any:
    return module.Hooks(
        module.Priorities({}, {}), module.Draining(Path("/none")), module.LeftOut(clock)
    )


def fail(hooks: Any, replica: str, error: Exception, **request: Any) -> None:
    data = {"model_info": {"id": replica}} | request
    asyncio.run(hooks.async_post_call_failure_deployment_hook(data, error, None))


def answer(hooks: Any, replica: str) -> None:
    kwargs = {"litellm_params": {"model_info": {"id": replica}}}
    asyncio.run(hooks.async_log_success_event(kwargs, None, None, None))


def offered(hooks: Any, *excluded: str) -> list[str]:
    kwargs = {"_excluded_deployment_ids": list(excluded)}
    rows = asyncio.run(hooks.async_filter_deployments("m", GROUP, None, kwargs))
    return [row["model_info"]["id"] for row in rows]


def test_a_failed_replica_is_left_out_until_one_request_has_tried_it(module: Any) -> None:
    clock = Clock()
    hooks = hooks_at(module, clock)
    assert offered(hooks) == ["a", "b"]
    fail(hooks, "a", mapped(500, refused()))
    assert offered(hooks) == ["b"]
    clock.now = 15
    assert [offered(hooks), offered(hooks)] == [["a"], ["b"]], "one request alone tries it"
    clock.now = 44
    assert offered(hooks) == ["b"], "it had no answer: the next try is later"
    clock.now = 45
    assert [offered(hooks), offered(hooks)] == [["a"], ["b"]]
    answer(hooks, "a")
    assert offered(hooks) == ["a", "b"]


def test_tries_become_rarer_up_to_a_limit(module: Any) -> None:
    clock, tries = Clock(), []
    hooks = hooks_at(module, clock)
    fail(hooks, "a", mapped(408, None))
    for second in range(1200):
        clock.now = second
        if offered(hooks) == ["a"]:
            tries.append(second)
            fail(hooks, "a", mapped(408, None))
    assert tries == [15, 45, 105, 225, 465, 705, 945, 1185]


def test_one_replica_is_always_left(module: Any) -> None:
    hooks = hooks_at(module, Clock())
    fail(hooks, "a", mapped(408, None))
    fail(hooks, "b", mapped(408, None))
    assert offered(hooks) == ["a", "b"]


def test_a_request_is_not_given_back_to_what_it_failed_on(module: Any) -> None:
    clock = Clock()
    hooks = hooks_at(module, clock)
    fail(hooks, "a", mapped(500, refused()))
    clock.now = 15
    assert offered(hooks, "a") == ["b"]
    assert offered(hooks, "b") == ["a"]


@pytest.mark.parametrize(
    ("error", "request_data"),
    [
        (mapped(500, answered(500)), {}),
        (mapped(400, answered(400)), {}),
        (mapped(408, None), {"model_info": None}),
        # a body that is null or a list, where LiteLLM itself fails
        (AttributeError("'NoneType' object has no attribute 'get'"), {}),
        (AttributeError("'list' object has no attribute 'get'"), {"model_info": None}),
    ],
)
def test_what_clients_ask_leaves_nothing_out(
    module: Any, error: Exception, request_data: dict[str, Any]
) -> None:
    hooks = hooks_at(module, Clock())
    fail(hooks, "a", error, **request_data)
    assert offered(hooks) == ["a", "b"]


def test_the_log_says_what_is_left_out_and_nothing_that_was_sent(
    module: Any, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = hooks_at(module, Clock())
    with caplog.at_level(logging.WARNING, logger="LiteLLM Proxy"):
        fail(hooks, "a", mapped(500, refused(), "sk-secret"), api_key="sk-secret")
        fail(hooks, "a", mapped(500, refused()))
        answer(hooks, "a")
        answer(hooks, "a")
    assert caplog.messages == [
        "a left out: InternalServerError < APIConnectionError < ConnectError, status 500",
        "a answers again",
    ]


@pytest.mark.parametrize(
    ("error", "in_a_line"),
    [
        (mapped(400, answered(400)), True),
        (mapped(500, refused()), True),
        (mapped(429, None), True),
        (KeyError("a fault of LiteLLM's own"), False),
    ],
)
def test_only_unexpected_errors_are_logged_with_where_they_came_from(
    module: Any, error: Exception, in_a_line: bool
) -> None:
    record = logging.LogRecord(
        "LiteLLM Proxy", logging.ERROR, "x", 1, "failed", None, (type(error), error, None)
    )
    assert module.explained(record)
    text = logging.Formatter().format(record)
    assert (text == "failed") is in_a_line


# what clients are told


def told(module: Any, error: Any, **request: Any) -> tuple[int, str] | None:
    data = {"model": "tiny"} | request
    refusal = asyncio.run(module.hooks.async_post_call_failure_hook(data, error, None))
    if refusal is None:
        return None
    assert (error.status_code, error.message) == (refusal.status_code, refusal.detail)
    return refusal.status_code, refusal.detail


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (500, "image input is not supported - hint: mmproj"),
        (500, "audio input isn't supported"),
        (500, "Failed to parse tools: x"),
        (500, "Unsupported provider: openai"),
        (501, "whatever"),
    ],
)
def test_what_a_model_cannot_do_is_the_clients_error(module: Any, status: int, text: str) -> None:
    error = mapped(status, answered(status), f"{text} LiteLLM Retried: 2 times\nmore")
    assert told(module, error) == (400, f"model tiny cannot do this: {text}")


@pytest.mark.parametrize(
    ("stream", "setting"),
    [(True, "router.stream_timeout_seconds"), (False, "router.request_timeout_seconds")],
)
def test_a_time_out_names_the_setting(module: Any, stream: bool, setting: str) -> None:
    answer = told(module, mapped(408, None), stream=stream)
    assert answer is not None
    status, text = answer
    assert status == 504
    assert text.startswith(f"{setting}: the engine of tiny sent nothing")


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_other_errors_stay_as_they_are(module: Any, status: int) -> None:
    assert told(module, mapped(status, answered(status))) is None


@pytest.mark.parametrize(
    "own",
    [
        {"timeout": 0.001, "stream_timeout": 1, "request_timeout": 1},
        {"headers": {"Authorization": "Bearer wrong"}, "api_key": "wrong", "organization": "o"},
        {"provider_specific_header": {"extra_headers": {"Authorization": "Bearer wrong"}}},
        {"custom_llm_provider": "anthropic", "azure": True, "api_version": "v0"},
        {"deployment_id": "x", "use_litellm_proxy": True},
        {"num_retries": 50, "max_retries": 50, "model_group_retry_policy": {}},
        {"router_settings_override": {"timeout": 0.001}},
    ],
)
def test_a_client_says_nothing_about_how_an_engine_is_asked(
    own: dict[str, Any], module: Any
) -> None:
    data = {"model": "m"} | own
    kept = asyncio.run(module.hooks.async_pre_call_hook(NOBODY, None, data, "acompletion"))
    assert kept == {"model": "m"}


@pytest.mark.parametrize("field", ["fallbacks", "context_window_fallbacks"])
@pytest.mark.parametrize(
    ("named", "kept"),
    [
        (["other"], ["other"]),
        ([{"m": ["other"]}], [{"m": ["other"]}]),
        ([{"model": "m", "messages": [], "api_key": "wrong"}], [{"model": "m", "messages": []}]),
        ([{"model": "m", "timeout": 0.001, "mock_response": "x"}], [{"model": "m"}]),
        ([{"m": [{"model": "m", "extra_headers": {}}]}], [{"m": [{"model": "m"}]}]),
        ([{"model": "m", "fallbacks": [{"model": "m", "api_key": "x"}]}], [{"model": "m"}]),
        ([{"timeout": 0.001}], [{}]),
        ("m", "m"),
    ],
)
def test_a_client_names_models_to_go_on_with_and_nothing_of_their_engines(
    field: str, named: Any, kept: Any, module: Any
) -> None:
    data = {"model": "m", field: named}
    asked = asyncio.run(module.hooks.async_pre_call_hook(NOBODY, None, data, "acompletion"))
    assert asked == {"model": "m", field: kept}


def timed_out(kind: type[httpx.TimeoutException]) -> Exception:
    error = openai.APITimeoutError(REQUEST)
    error.__cause__ = kind("slow")
    return error


@pytest.mark.parametrize(
    ("status", "cause", "seen"),
    [
        (500, refused(), 503),
        (500, httpx.RemoteProtocolError("incomplete"), 503),
        (500, httpx.ReadError("reset"), 503),
        (408, timed_out(httpx.ConnectTimeout), 503),
        (408, timed_out(httpx.ReadTimeout), 504),
        (500, answered(500), None),
    ],
)
def test_an_engine_that_is_not_there_is_told_from_a_slow_one(
    module: Any, status: int, cause: Exception, seen: int | None
) -> None:
    answer = told(module, mapped(status, cause))
    assert (answer and answer[0]) == seen
    assert seen != 503 or (answer and "atelier status" in answer[1])


@pytest.mark.parametrize("cause", [httpx.ReadError("cut"), httpx.RemoteProtocolError("cut")])
def test_an_engine_that_dies_while_it_answers(module: Any, cause: Exception) -> None:
    """Another one may serve: it is not said that none can be reached."""
    error = mapped(500, cause)
    answer = told(module, error)
    assert answer is not None
    assert answer[1].startswith("an engine of tiny ended while it answered")
    assert module.engine_failed(error)
