"""Requests to deployed services: an answer, or an error that says where and what."""

from __future__ import annotations

import json
import ssl
from functools import cache
from typing import Any

import httpx

from deploy.errors import Problem, ServiceError

TIMEOUT_SECONDS = 120


def query(url: str, key: str, parameters: dict[str, Any]) -> Any:
    """Ask for JSON.

    Raises:
        ServiceError: if the answer is an error.
        httpx.HTTPError: if there is none.
    """
    reply = _client().get(url, headers=_bearer(key), params=parameters)
    _raise_for_status(reply)
    return reply.json()


def get(url: str, key: str) -> Any:
    """Read JSON; also that of a service which says that it is not ready.

    Raises:
        ServiceError: if the answer is another error.
        httpx.HTTPError: if there is none.
    """
    reply = _client().get(url, headers=_bearer(key))
    if reply.status_code != httpx.codes.SERVICE_UNAVAILABLE:
        _raise_for_status(reply)
    return reply.json()


def post(url: str, key: str, body: dict[str, Any]) -> Any:
    """Send JSON and read JSON.

    Raises:
        ServiceError: if the answer is an error.
        httpx.HTTPError: if there is none.
    """
    reply = _client().post(url, headers=_bearer(key), json=body)
    _raise_for_status(reply)
    return reply.json()


def stream(url: str, key: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Send JSON and read a stream of events to its end.

    Raises:
        ServiceError: if the answer is an error, holds one, or ends early.
        httpx.HTTPError: if there is none.
    """
    wanted = body | {"stream": True}
    with _client().stream("POST", url, headers=_bearer(key), json=wanted) as reply:
        if reply.is_error:
            reply.read()
        _raise_for_status(reply)
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line.strip()]
    path = reply.request.url.path
    if not lines or lines[-1] != "[DONE]":
        raise ServiceError(
            Problem(path, "the stream ended early", "a stream that ends with [DONE]")
        )
    events: list[dict[str, Any]] = [json.loads(line) for line in lines[:-1]]
    for event in events:
        if "error" in event:
            raise ServiceError(Problem(path, f"the stream broke off: {str(event['error'])[:300]}"))
    return events


@cache
def _client() -> httpx.Client:
    """One for all: making one takes 30 ms, most of it to read certificates.

    Every address is plain HTTP on a network of the deployment, so there are no certificates to
    read and no proxies to ask. Connections are not kept: llama.cpp closes them unannounced.
    """
    return httpx.Client(
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        limits=httpx.Limits(max_keepalive_connections=0),
    )


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _raise_for_status(reply: httpx.Response) -> None:
    if reply.is_error:
        found = f"HTTP {reply.status_code}: {reply.text[:300]}"
        raise ServiceError(Problem(reply.request.url.path, found))
