"""Marked requests through every door: whole, streamed, refused, and cut off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from deploy.live.http import Base, prepare
from deploy.live.privacy.needles import Mark

CHAT, COMPLETION, MESSAGES, RESPONSES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/messages",
    "/v1/responses",
)
EMBEDDINGS, RERANK = "/v1/embeddings", "/v1/rerank"
Use = Literal["chat", "completion", "embedding", "rerank"]
"""What a model is asked for."""
MAX_TOKENS = 8
MOST_CHARACTERS = 2_000_000
"""Of a prompt that is too long."""


@dataclass(frozen=True)
class Door:
    """Where people ask."""

    name: str
    base: Base
    key: str = field(repr=False)
    model: str
    """For chats; a model that only completes says so, which is an answer, too."""
    completion_model: str | None
    max_model_len: int
    """Longer prompts are refused."""
    chat_path: str = CHAT
    is_router: bool = True
    """Whether it has the router's other paths."""
    others: tuple[tuple[str, Use], ...] = ()
    """Models that are asked briefly, each with an engine and a log of its own, and their uses."""


@dataclass(frozen=True)
class Asked:
    """One request, and how it ended."""

    request: str
    ended: str
    """``200``, another status, or ``no answer``."""


def ask_all(door: Door, mark: Mark) -> Iterator[Asked]:
    """Send every kind of request.

    Args:
        door: where.
        mark: what they carry.
    """
    for kind, path, body in _bodies(door):
        request = f"{kind}, {door.name}"
        word = mark.carried_by(request)
        yield Asked(request, _send(door, path, with_mark(body, word), cut=kind == "cut off"))
    if door.is_router:
        yield from _with_bad_keys(door, mark)


MARK = "{mark}"
"""Stands for the mark in what is sent."""


def _bodies(door: Door) -> Iterator[tuple[str, str, Any]]:
    chat = chat_body(door.model)
    path = door.chat_path
    yield "whole", path, chat
    yield "streamed", path, chat | {"stream": True}
    yield "cut off", path, cut_off_body(door)
    yield "a wrong parameter", path, chat | {"temperature": MARK}
    yield "a streamed wrong parameter", path, chat | {"temperature": MARK, "stream": True}
    yield "a model that is not there", path, chat | {"model": MARK}
    # a token has about four characters, and one letter at least
    long = f"{MARK} " * (min(door.max_model_len * 8, MOST_CHARACTERS) // 34 + 1)
    yield "too long", path, chat | {"messages": [{"role": "user", "content": long}]}
    yield "no JSON", path, f'{{"model": "{door.model}", "messages": "{MARK}'
    if not door.is_router:
        return
    if door.completion_model:
        asked = {"model": door.completion_model, "prompt": f"# {MARK}\n", "max_tokens": MAX_TOKENS}
        yield "a completion", COMPLETION, asked
        yield "a streamed completion", COMPLETION, asked | {"stream": True}
        yield "a wrong completion", COMPLETION, asked | {"n": MARK}
    messages = {
        "model": door.model,
        "max_tokens": MAX_TOKENS,
        "messages": chat_body("")["messages"],
    }
    yield "a message", MESSAGES, messages
    yield "a wrong message", MESSAGES, messages | {"temperature": MARK}
    response = {"model": door.model, "max_output_tokens": 16, "input": f"Repeat: {MARK}"}
    yield "a response", RESPONSES, response
    yield "a wrong response", RESPONSES, response | {"temperature": MARK}
    for model, use in door.others:
        if model in {door.model, door.completion_model}:
            continue
        path, body, wrong = _asked(model, use)
        yield f"a {use} of {model}", path, body
        yield f"a wrong {use} of {model}", path, body | {wrong: MARK}


def _asked(model: str, use: Use) -> tuple[str, dict[str, Any], str]:
    """Path, body, and the name of a parameter that is a number."""
    if use == "embedding":
        return EMBEDDINGS, {"model": model, "input": MARK}, "dimensions"
    if use == "rerank":
        return RERANK, {"model": model, "query": MARK, "documents": [MARK, "ping"]}, "top_n"
    if use == "completion":
        asked = {"model": model, "prompt": f"# {MARK}\n", "max_tokens": MAX_TOKENS}
        return COMPLETION, asked, "temperature"
    return CHAT, chat_body(model), "temperature"


def chat_body(model: str) -> dict[str, Any]:
    """A short chat, in which MARK stands for the mark."""
    content = f"Repeat this word, and say nothing else: {MARK}"
    said = [{"role": "system", "content": MARK}, {"role": "user", "content": content}]
    return {"model": model, "max_tokens": MAX_TOKENS, "messages": said}


def cut_off_body(door: Door) -> dict[str, Any]:
    """A chat with an answer that is long enough to be cut off."""
    most = min(door.max_model_len // 2, 4096)
    return chat_body(door.model) | {"stream": True, "max_tokens": most}


def with_mark(body: Any, word: str) -> Any:
    """What is sent, with a request's mark where MARK stands for it."""
    if isinstance(body, dict):
        return {name: with_mark(value, word) for name, value in body.items()}
    if isinstance(body, list):
        return [with_mark(each, word) for each in body]
    return body.replace(MARK, word) if isinstance(body, str) else body


def _send(door: Door, path: str, body: Any, *, cut: bool = False, key: str | None = None) -> str:
    content: dict[str, Any] = {"json": body}
    if isinstance(body, str):
        content = {"content": body}
    try:
        client, request = prepare(
            "POST", door.base, path, door.key if key is None else key, **content
        )
        request.headers.setdefault("Content-Type", "application/json")
        reply = client.send(request, stream=True)
        try:
            if cut:
                with suppress(StopIteration):
                    next(reply.iter_bytes())
            else:
                reply.read()
        finally:
            reply.close()
    except httpx.HTTPError as error:
        return f"no answer ({type(error).__name__})"
    return str(reply.status_code)


def _with_bad_keys(door: Door, mark: Mark) -> Iterator[Asked]:
    """Keys that somebody mistyped are somebody's keys all the same."""
    body = with_mark(chat_body(door.model), "ping")
    request = f"a wrong key, {door.name}"
    yield Asked(request, _send(door, CHAT, body, key=f"sk-{mark.carried_by(request)}"))
    request = f"a key in the address, {door.name}"
    path = f"{CHAT}?key={mark.carried_by(request)}"
    yield Asked(request, _send(door, path, body))
