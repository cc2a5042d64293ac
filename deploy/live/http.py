"""Requests to deployed services: an answer, or an error that says where and what."""

from __future__ import annotations

import json
import ssl
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from deploy.errors import Problem, ServiceError
from deploy.plan.addresses import host_and_port
from deploy.plan.deployment_plan import HTTPS_PORT

TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Secure:
    """A service behind TLS, which must prove its name."""

    url: str
    """Where it is reached, e.g. ``https://127.0.0.1:443``."""
    name: str
    """What its certificate must be for: a DNS name or an address."""
    trusted: str
    """PEM of the certificates that are believed."""


Base = str | Secure
"""Where a service is: the URL before its paths."""


def query(base: str, path: str, key: str, parameters: dict[str, Any]) -> Any:
    """Ask for JSON.

    Raises:
        ServiceError: if the answer is an error.
        httpx.HTTPError: if there is none.
    """
    reply = _client().get(base + path, headers=_bearer(key), params=parameters)
    _raise_for_status(reply)
    return reply.json()


def get(base: Base, path: str, key: str) -> Any:
    """Read JSON; also that of a service which says that it is not ready.

    Raises:
        ServiceError: if the answer is another error.
        httpx.HTTPError: if there is none.
    """
    client, request = _request("GET", base, path, key)
    reply = client.send(request)
    if reply.status_code != httpx.codes.SERVICE_UNAVAILABLE:
        _raise_for_status(reply)
    return reply.json()


def post(base: Base, path: str, key: str, body: dict[str, Any]) -> Any:
    """Send JSON and read JSON.

    Raises:
        ServiceError: if the answer is an error.
        httpx.HTTPError: if there is none.
    """
    client, request = _request("POST", base, path, key, body)
    reply = client.send(request)
    _raise_for_status(reply)
    return reply.json()


def stream(base: Base, path: str, key: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Send JSON and read a stream of events to its end.

    Raises:
        ServiceError: if the answer is an error, holds one, or ends early.
        httpx.HTTPError: if there is none.
    """
    client, request = _request("POST", base, path, key, body | {"stream": True})
    with closing(client.send(request, stream=True)) as reply:
        if reply.is_error:
            reply.read()
        _raise_for_status(reply)
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line.strip()]
    if not lines or lines[-1] != "[DONE]":
        raise ServiceError(
            Problem(path, "the stream ended early", "a stream that ends with [DONE]")
        )
    events: list[dict[str, Any]] = [json.loads(line) for line in lines[:-1]]
    for event in events:
        if "error" in event:
            raise ServiceError(Problem(path, f"the stream broke off: {str(event['error'])[:300]}"))
    return events


def _request(
    method: str, base: Base, path: str, key: str, body: dict[str, Any] | None = None
) -> tuple[httpx.Client, httpx.Request]:
    if isinstance(base, str):
        client = _client()
        return client, client.build_request(method, base + path, headers=_bearer(key), json=body)
    client, port = _client(base.trusted), httpx.URL(base.url).port or HTTPS_PORT
    # it is asked for by its name, wherever the way to it begins
    headers = _bearer(key) | {"Host": host_and_port(base.name, port)}
    request = client.build_request(method, base.url + path, headers=headers, json=body)
    request.extensions["sni_hostname"] = base.name
    return client, request


@cache
def _client(trusted: str = "") -> httpx.Client:
    """One for all: making one takes 30 ms, most of it to read certificates.

    Addresses are plain HTTP on a network of the deployment, or the entry with a certificate that
    is known, so there is no store of certificates to read and no proxy to ask. Connections are not
    kept: llama.cpp closes them unannounced.

    Args:
        trusted: PEM of the certificates that are believed.
    """
    return httpx.Client(
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
        verify=trusting(trusted),
        limits=httpx.Limits(max_keepalive_connections=0),
    )


def trusting(trusted: str) -> ssl.SSLContext:
    """TLS that believes these certificates alone, be they a root's or the server's own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if trusted:
        context.load_verify_locations(cadata=trusted)
    return context


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _raise_for_status(reply: httpx.Response) -> None:
    if reply.is_error:
        found = f"HTTP {reply.status_code}: {reply.text[:300]}"
        raise ServiceError(Problem(reply.request.url.path, found))
