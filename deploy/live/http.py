"""Requests to deployed services: an answer, or an error that says where and what."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from deploy.errors import Problem, ServiceError
from deploy.plan.addresses import host_and_port
from deploy.plan.service_plans import HTTPS_PORT

TIMEOUT_SECONDS = 120
"""How long an answer may take, or a part of it, unless more is allowed."""
PUBLIC_AUTHORITIES = "public authorities"
"""Stands for the certificates that this machine and browsers believe."""


@dataclass(frozen=True)
class Secure:
    """A service behind TLS, which must prove its name."""

    url: str
    """Where it is reached, e.g. ``https://127.0.0.1:443``."""
    name: str
    """What its certificate must be for: a DNS name or an address."""
    trusted: str
    """PEM of the certificates that are trusted, or PUBLIC_AUTHORITIES."""


class RefusedError(ServiceError):
    """The service finds something wrong with what it was sent."""


class TooManyError(ServiceError):
    """A service takes no more such requests for now."""


Base = str | Secure
"""Where a service is: the URL before its paths."""


def get(
    base: Base, path: str, key: str, asked: Mapping[str, Any] | None = None, *, also: int = 0
) -> Any:
    """Read JSON.

    Args:
        base: where the service is.
        path: what is read.
        key: its key; empty where it wants none.
        asked: parameters of the address.
        also: a status that is an answer too, e.g. of a service that is not ready.

    Raises:
        ServiceError: if the answer is an error, or no JSON.
        httpx.HTTPError: if there is none.
    """
    client, request = prepare("GET", base, path, key, params=asked)
    reply = client.send(request)
    if reply.status_code != also:
        _raise_for_status(reply)
    return _read(path, reply.text)


def post(
    base: Base, path: str, key: str, body: dict[str, Any], seconds: float = TIMEOUT_SECONDS
) -> Any:
    """Send JSON and read JSON.

    Args:
        base: where the service is.
        path: what is asked.
        key: its key; empty where it wants none.
        body: what is sent.
        seconds: how long the answer may take.

    Raises:
        ServiceError: if the answer is an error, or no JSON.
        httpx.HTTPError: if there is none.
    """
    client, request = prepare("POST", base, path, key, json=body, timeout=_answered_in(seconds))
    reply = client.send(request)
    _raise_for_status(reply)
    answer = _read(path, reply.text)
    _raise_for_body(path, answer)
    return answer


def stream(
    base: Base, path: str, key: str, body: dict[str, Any], seconds: float = TIMEOUT_SECONDS
) -> list[dict[str, Any]]:
    """Send JSON and read a stream of events to its end, each of which may take so long.

    Raises:
        ServiceError: if the answer is an error, holds one, is no JSON, or ends early.
        httpx.HTTPError: if there is none.
    """
    client, request = prepare(
        "POST", base, path, key, json=body | {"stream": True}, timeout=_answered_in(seconds)
    )
    with closing(client.send(request, stream=True)) as reply:
        reply.read()
        _raise_for_status(reply)
    # not splitlines(), for which lines end at more than that, also in the middle of a text
    raw = [line.strip() for line in reply.text.split("\n") if line.strip()]
    if raw and raw[0].startswith("{"):
        # no stream at all
        _raise_for_body(path, _read(path, "".join(raw)))
    lines = [line.removeprefix("data: ") for line in raw]
    if not lines or lines[-1] != "[DONE]":
        raise ServiceError(
            Problem(path, "the stream ended early", "a stream that ends with [DONE]")
        )
    events: list[dict[str, Any]] = [_read(path, line) for line in lines[:-1]]
    for event in events:
        if "error" in event:
            raise ServiceError(Problem(path, f"the stream broke off: {str(event['error'])[:300]}"))
    return events


KINDS: dict[int, type[ServiceError]] = {
    httpx.codes.BAD_REQUEST: RefusedError,
    httpx.codes.TOO_MANY_REQUESTS: TooManyError,
}


def prepare(
    method: str, base: Base, path: str, key: str, **content: Any
) -> tuple[httpx.Client, httpx.Request]:
    """A request, and the client that sends it; one behind TLS is asked for by its name."""
    if isinstance(base, str):
        client = _client()
        return client, client.build_request(method, base + path, headers=_bearer(key), **content)
    client, port = _client(base.trusted), httpx.URL(base.url).port or HTTPS_PORT
    # it is asked for by its name, wherever the way to it begins
    headers = _bearer(key) | {"Host": host_and_port(base.name, port)}
    request = client.build_request(method, base.url + path, headers=headers, **content)
    request.extensions["sni_hostname"] = base.name
    return client, request


@cache
def _client(trusted: str = "") -> httpx.Client:
    """One for all: making one takes 30 ms, most of it to read certificates.

    Addresses are plain HTTP on a network of the deployment, or the entry with a certificate that
    is known, so there is no store of certificates to read and no proxy to ask. Connections are not
    kept: llama.cpp closes them unannounced.

    Args:
        trusted: PEM of the certificates that are trusted.
    """
    return httpx.Client(
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
        verify=trusting(trusted),
        limits=httpx.Limits(max_keepalive_connections=0),
    )


def trusting(trusted: str) -> ssl.SSLContext:
    """TLS that believes these certificates alone, be they a root's or the server's own.

    Args:
        trusted: PEM of them, or PUBLIC_AUTHORITIES.
    """
    if trusted == PUBLIC_AUTHORITIES:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if trusted:
        context.load_verify_locations(cadata=trusted)
    return context


def _answered_in(seconds: float) -> httpx.Timeout:
    """An answer may take long; a connection does not."""
    return httpx.Timeout(seconds, connect=min(seconds, TIMEOUT_SECONDS))


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _read(path: str, text: str) -> Any:
    """JSON, which a page of a proxy or of another program is not."""
    try:
        return json.loads(text)
    except ValueError:
        found = f"answers with what is no JSON: {text[:300]!r}"
        fix = "see what answers at this address, and whether a proxy is in between"
        raise ServiceError(Problem(path, found, "JSON", fix)) from None


def _raise_for_body(path: str, answer: Any) -> None:
    """Aristote answers with 200 what an engine refused, and what its queue did of a chat."""
    if not isinstance(answer, dict):
        return
    said = answer.get("error") or (answer.get("object") == "error" and answer.get("message"))
    if said:
        problem = Problem(path, f"HTTP 200 with an error: {str(said)[:300]}", "an answer")
        raise ServiceError(problem)


def _raise_for_status(reply: httpx.Response) -> None:
    if reply.is_error:
        found = f"HTTP {reply.status_code}: {reply.text[:300]}"
        raise KINDS.get(reply.status_code, ServiceError)(Problem(reply.request.url.path, found))
