"""Questions to models, directly and through the web UI, believing only the answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from deploy.errors import Problem, ServiceError
from deploy.live.http import TIMEOUT_SECONDS, Base, post, stream
from deploy.live.web_ui import TooManyLoginsError, WrongPasswordError, sign_in

PROMPT = {"prompt": "def fib(n):"}
MESSAGES = {"messages": [{"role": "user", "content": "ping"}]}
MAX_TOKENS = 16
"""Enough to see that a model answers, and quick on a CPU."""
MAX_TOKENS_TO_EXPECTED = 64
"""As far as the catalogue's known answers are looked for."""
LISTINGS = 3
"""How often the web UI may ask the router for its models."""
NOT_LISTED = "Model not found"
NOT_TRIED = "answers, but refuses every login for now"
TOO_MANY_LOGINS = (
    "it has had 15 logins of its administrator in 3 minutes: login and chat were not tried; wait"
    " three minutes, then run atelier verify"
)


@dataclass(frozen=True)
class Check:
    """One question and how it went."""

    name: str
    host: str
    ok: bool
    seconds: float
    detail: str
    warning: str = ""
    """What is not as planned although the service answers."""


@dataclass(frozen=True)
class Answer:
    """What a service answered, where there is more to say of it."""

    detail: str
    warning: str = ""


def run_check(name: str, host: str, ask: Callable[[], str | Answer]) -> Check:
    """Ask, and say how long the answer took or why there is none.

    Args:
        name: what is checked.
        host: where it runs.
        ask: returns what was answered; raises ServiceError or httpx.HTTPError.
    """
    started, warning = time.monotonic(), ""
    try:
        answer, ok = ask(), True
        detail, warning = (
            (answer, "") if isinstance(answer, str) else (answer.detail, answer.warning)
        )
    except ServiceError as error:
        detail, ok = str(error), False
    except httpx.ReadTimeout as error:
        allowed = error.request.extensions["timeout"]["read"]
        detail, ok = f"no answer within {allowed:g} s", False
    except httpx.HTTPError as error:
        detail, ok = f"{type(error).__name__}: {error}", False
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # something answers there, but it is not the service
        detail, ok = f"not an answer of this service ({type(error).__name__}: {error})", False
    return Check(name, host, ok, round(time.monotonic() - started, 3), detail, warning)


def complete(
    base_url: Base, key: str, model: str, expected: str | None, seconds: float = TIMEOUT_SECONDS
) -> str:
    """Ask an OpenAI-compatible API to complete ``def fib(n):``.

    Args:
        base_url: address of the API, without ``/v1``.
        key: its key; empty where it wants none.
        model: the served model name.
        expected: text that the answer must contain; any answer will do if ``None``.
        seconds: how long it may take.

    Raises:
        ServiceError: if the answer is an error, empty or not the expected one.
    """
    answer = post(base_url, "/v1/completions", key, _body(model, expected) | PROMPT, seconds)
    return _believed(model, answer["choices"][0]["text"], expected)


def stream_completion(
    base_url: Base, key: str, model: str, expected: str | None, seconds: float = TIMEOUT_SECONDS
) -> str:
    """The same with a streamed answer, each part of which must have a text.

    OpenAI's own client fails at a part without one.
    """
    body = _body(model, expected) | PROMPT
    events = stream(base_url, "/v1/completions", key, body, seconds)
    texts = [choice.get("text") for event in events for choice in event["choices"]]
    if not all(isinstance(text, str) for text in texts):
        raise ServiceError(Problem(model, "a part of the stream has no text", "a text in each"))
    return f"{_believed(model, ''.join(texts), expected)} ({len(events)} events)"


def chat(base_url: Base, key: str, model: str, seconds: float = TIMEOUT_SECONDS) -> str:
    """Chat with an OpenAI-compatible API.

    Raises:
        ServiceError: if the answer is an error or empty.
    """
    answer = post(base_url, "/v1/chat/completions", key, _body(model) | MESSAGES, seconds)
    return _believed(model, _content(answer["choices"][0]["message"]))


def stream_chat(base_url: Base, key: str, model: str, seconds: float = TIMEOUT_SECONDS) -> str:
    """The same with a streamed answer."""
    events = stream(base_url, "/v1/chat/completions", key, _body(model) | MESSAGES, seconds)
    deltas = [choice.get("delta", {}) for event in events for choice in event.get("choices", [])]
    text = "".join(_content(delta) for delta in deltas)
    return f"{_believed(model, text)} ({len(events)} events)"


def embed(base_url: Base, key: str, model: str, seconds: float = TIMEOUT_SECONDS) -> str:
    """Ask an OpenAI-compatible API for the embedding of a text.

    Raises:
        ServiceError: if the answer is an error, or not a list of numbers.
    """
    body = {"model": model, "input": PROMPT["prompt"]}
    answer = post(base_url, "/v1/embeddings", key, body, seconds)
    numbers = [float(number) for number in answer["data"][0]["embedding"]]
    if not any(numbers):
        raise ServiceError(Problem(model, f"{len(numbers)} zeros", "an embedding"))
    return f"answered {len(numbers)} numbers"


def rerank(base_url: Base, key: str, model: str, seconds: float = TIMEOUT_SECONDS) -> str:
    """Ask how relevant two texts are, as Cohere's and Jina's APIs are asked.

    Raises:
        ServiceError: if the answer is an error, or has no number for each of them.
    """
    body = {"model": model, "query": PROMPT["prompt"], "documents": ["return n", "a garden"]}
    results = post(base_url, "/v1/rerank", key, body, seconds)["results"]
    scores = {int(each["index"]): float(each["relevance_score"]) for each in results}
    if scores.keys() != {0, 1}:
        raise ServiceError(Problem(model, f"{len(scores)} scores", "one for each of 2 texts"))
    return f"answered {scores[0]:.3f} and {scores[1]:.3f}"


def chat_in_web_ui(  # noqa: PLR0913, PLR0917  who asks whom, and for how long
    base_url: Base,
    email: str,
    password: str,
    model: str,
    token: str = "",
    seconds: float = TIMEOUT_SECONDS,
) -> str | Answer:
    """Log in to Open WebUI and chat through its API.

    Of a web UI that has had too many logins to look at another one, that is said: it answers.

    Args:
        base_url: address of the web UI.
        email: who logs in.
        password: of that person.
        model: the served model name.
        token: what it gave for the same login before, if that was done.
        seconds: how long the chat may take.

    Raises:
        ServiceError: if the login or the chat fails.
    """
    try:
        token = token or sign_in(base_url, email, password)
    except TooManyLoginsError:
        return Answer(NOT_TRIED, TOO_MANY_LOGINS)
    except WrongPasswordError as error:
        raise ServiceError(
            *error.problems,
            Problem(
                "web_ui_admin_password",
                "does not log in",
                fix="the secret only sets the first password: change it in the web UI to match",
            ),
        ) from None
    body = {"model": model, "messages": [{"role": "user", "content": "ping"}], "stream": False}
    answer = _chat(base_url, token, body, seconds)
    text = str(answer["choices"][0]["message"]["content"])
    if not text.strip():
        raise ServiceError(Problem("web UI", "the chat had no text", "some text"))
    return f"logged in as {email}; {_first_words(text)}"


def _chat(base_url: Base, token: str, body: dict[str, Any], seconds: float) -> Any:
    """An answer of the web UI, which may know no model yet on a busy host.

    Open WebUI gives the router 10 s to list its models, and asks again for the next chat.
    """
    for _ in range(LISTINGS - 1):
        try:
            return post(base_url, "/api/chat/completions", token, body, seconds)
        except ServiceError as error:
            if NOT_LISTED not in str(error):
                raise
    return post(base_url, "/api/chat/completions", token, body, seconds)


def _body(model: str, expected: str | None = None) -> dict[str, Any]:
    tokens = MAX_TOKENS_TO_EXPECTED if expected else MAX_TOKENS
    return {"model": model, "max_tokens": tokens, "temperature": 0}


def _content(message: dict[str, Any]) -> str:
    """What a model says, or thinks: some think for longer than they are let speak here."""
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    return message.get("content") or thoughts or ""


def _believed(model: str, text: str, expected: str | None = None) -> str:
    if not text.strip() or (expected and expected not in text):
        raise ServiceError(Problem(model, f"answered {text!r}", expected or "some text"))
    return _first_words(text)


def _first_words(text: str) -> str:
    line = " ".join(text.split())
    return f"answered {line[:60]!r}"
