"""Questions to deployed services, believing only the answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from deploy.errors import Problem, ServiceError

TIMEOUT_SECONDS = 120
PROMPT = "def fib(n):"
MAX_TOKENS = 64


@dataclass(frozen=True)
class Check:
    """One question and how it went."""

    name: str
    host: str
    ok: bool
    seconds: float
    detail: str


def run_check(name: str, host: str, ask: Callable[[], str]) -> Check:
    """Ask, and say how long the answer took or why there is none.

    Args:
        name: what is checked.
        host: where it runs.
        ask: returns what was answered; raises ServiceError or httpx.HTTPError.
    """
    started = time.monotonic()
    try:
        detail, ok = ask(), True
    except ServiceError as error:
        detail, ok = str(error), False
    except httpx.HTTPError as error:
        detail, ok = f"{type(error).__name__}: {error}", False
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # something answers there, but it is not the service
        detail, ok = f"not an answer of this service ({type(error).__name__}: {error})", False
    return Check(name, host, ok, round(time.monotonic() - started, 3), detail)


def complete(base_url: str, key: str, model: str, expected: str | None) -> str:
    """Ask an OpenAI-compatible API to complete ``def fib(n):``.

    Args:
        base_url: address of the API, without ``/v1``.
        key: its key; empty where it wants none.
        model: the served model name.
        expected: text that the answer must contain; any answer will do if ``None``.

    Raises:
        ServiceError: if the answer is an error, empty or not the expected one.
    """
    body = {"model": model, "prompt": PROMPT, "max_tokens": MAX_TOKENS, "temperature": 0}
    answer = _post(f"{base_url}/v1/completions", key, body)
    text = str(answer["choices"][0]["text"])
    if not text.strip() or (expected and expected not in text):
        raise ServiceError(Problem(model, f"answered {text!r}", expected or "some text"))
    return _first_words(text)


def stream_chat(base_url: str, key: str, model: str) -> str:
    """Chat with a streamed answer.

    Raises:
        ServiceError: if the stream is an error, empty or does not end as it should.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "ping"}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        "stream": True,
    }
    url = f"{base_url}/v1/chat/completions"
    with httpx.stream(
        "POST", url, headers=_bearer(key), json=body, timeout=TIMEOUT_SECONDS
    ) as reply:
        if reply.is_error:
            reply.read()
        _raise_for_status(reply)
        events = [line.removeprefix("data: ") for line in reply.iter_lines() if line.strip()]
    if not events or events[-1] != "[DONE]":
        raise ServiceError(
            Problem(model, "the stream ended early", "a stream that ends with [DONE]")
        )
    text = "".join(_deltas(events[:-1]))
    if not text.strip():
        raise ServiceError(Problem(model, "the stream had no text", "some text"))
    return f"{_first_words(text)} ({len(events) - 1} events)"


def chat_in_web_ui(base_url: str, email: str, password: str, model: str) -> str:
    """Log in to Open WebUI and chat through its API.

    Raises:
        ServiceError: if the login or the chat fails.
    """
    try:
        login = _post(f"{base_url}/api/v1/auths/signin", "", {"email": email, "password": password})
    except ServiceError as error:
        raise ServiceError(
            *error.problems,
            Problem(
                "web_ui_admin_password",
                "does not log in",
                fix="the secret only sets the first password: change it in the web UI to match",
            ),
        ) from None
    body = {"model": model, "messages": [{"role": "user", "content": "ping"}], "stream": False}
    answer = _post(f"{base_url}/api/chat/completions", str(login["token"]), body)
    text = str(answer["choices"][0]["message"]["content"])
    if not text.strip():
        raise ServiceError(Problem("web UI", "the chat had no text", "some text"))
    return f"logged in as {email}; {_first_words(text)}"


def _post(url: str, key: str, body: dict[str, Any]) -> Any:
    reply = httpx.post(url, headers=_bearer(key), json=body, timeout=TIMEOUT_SECONDS)
    _raise_for_status(reply)
    return reply.json()


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _raise_for_status(reply: httpx.Response) -> None:
    if reply.is_error:
        found = f"HTTP {reply.status_code}: {reply.text[:300]}"
        raise ServiceError(Problem(reply.request.url.path, found))


def _deltas(events: list[str]) -> Iterator[str]:
    for event in events:
        for choice in json.loads(event).get("choices", []):
            yield choice.get("delta", {}).get("content") or ""


def _first_words(text: str) -> str:
    line = " ".join(text.split())
    return f"answered {line[:60]!r}"
