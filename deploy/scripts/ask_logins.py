"""What a provider of logins and a directory answer this host: standard library alone.

On standard input is a question in JSON, with the password in it; on standard output the answer.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

SECONDS = 10
BIND, BOUND, SEARCH, DONE = 0x60, 0x61, 0x63, 0x65
"""Kinds of messages: https://www.rfc-editor.org/rfc/rfc4511."""
NO_SUCH_ENTRY = 32
LONGEST = 100_000


def trust(authorities: str) -> ssl.SSLContext:
    """TLS that believes these authorities, or those that the system knows, as the web UI does.

    Python 3.13 and newer refuse authorities for less, and believe what is none.
    """
    context = ssl.create_default_context(cadata=authorities or None)
    for name in ("VERIFY_X509_STRICT", "VERIFY_X509_PARTIAL_CHAIN"):
        context.verify_flags &= ~getattr(ssl, name, 0)
    return context


def through(proxies: dict[str, str]) -> None:
    """Take the way that the web UI takes, whatever the host's own environment says."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ.update(proxies)


class Unfollowed(urllib.request.HTTPRedirectHandler):
    """The web UI follows no redirect to where a provider describes itself."""

    def redirect_request(self, *_: Any) -> None:
        """Leave it."""


def ask_provider(
    url: str, authorities: str = "", proxies: dict[str, str] | None = None
) -> dict[str, str]:
    """How a provider describes itself."""
    through(proxies or {})
    opener = urllib.request.build_opener(
        Unfollowed, urllib.request.HTTPSHandler(context=trust(authorities))
    )
    try:
        with opener.open(url, timeout=SECONDS) as reply:
            described = json.loads(reply.read(LONGEST))
    except urllib.error.HTTPError as error:
        place = error.headers.get("Location")
        return {"failure": f"HTTP {error.code}" + (f", a redirect to {place}" if place else "")}
    except urllib.error.URLError as error:
        return {"failure": str(error.reason)}
    except ValueError:
        return {"failure": "what it answers is not JSON"}
    except (OSError, http.client.HTTPException) as error:
        return {"failure": str(error) or type(error).__name__}
    if not isinstance(described, dict):
        return {"failure": "what it answers describes no provider"}
    names = ("issuer", "authorization_endpoint", "token_endpoint", "end_session_endpoint")
    return {name: str(described.get(name) or "") for name in names}


def element(tag: int, value: bytes) -> bytes:
    """A value in the basic encoding rules of ASN.1 (X.690)."""
    size = len(value)
    if size < 128:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def text(value: str, tag: int = 0x04) -> bytes:
    """Text, as an octet string or under another tag."""
    return element(tag, value.encode())


def split(data: bytes) -> tuple[int, bytes, bytes]:
    """The first element of some: its tag, its value and what is behind it.

    Raises:
        IndexError: if it is not all there.
    """
    tag, size, start = data[0], data[1], 2
    if size & 0x80:
        start = 2 + (size & 0x7F)
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        raise IndexError
    return tag, data[start : start + size], data[start + size :]


def bind_request(name: str, password: str) -> bytes:
    """Who asks."""
    return element(BIND, element(0x02, b"\x03") + text(name) + text(password, 0x80))


def base_request(base: str) -> bytes:
    """Whether there is such an entry: nothing of it but that."""
    limits = element(0x02, b"\x01") + element(0x02, bytes([SECONDS])) + element(0x01, b"\x00")
    return element(
        SEARCH,
        text(base)
        + element(0x0A, b"\x00")
        + element(0x0A, b"\x00")
        + limits
        + text("objectClass", 0x87)
        + element(0x30, text("1.1")),
    )


def answer_in(data: bytes, wanted: int) -> tuple[int, str]:
    """The code and the words of the message of a kind.

    Raises:
        IndexError: if it is not all there yet.
    """
    while True:
        _, message, data = split(data)
        _, _, answer = split(message)
        tag, body, _ = split(answer)
        if tag == wanted:
            _, code, others = split(body)
            _, _, others = split(others)
            return int.from_bytes(code, "big"), split(others)[1].decode("utf-8", "replace")


def ask(connection: socket.socket, number: int, request: bytes, wanted: int) -> tuple[int, str]:
    """The code and the words of a directory's answer to a request."""
    connection.sendall(element(0x30, element(0x02, bytes([number])) + request))
    data = b""
    while len(data) < LONGEST:
        part = connection.recv(4096)
        if not part:
            raise ConnectionError("it closed the connection")
        data += part
        try:
            return answer_in(data, wanted)
        except IndexError:
            continue
    raise ConnectionError("it answers without an end")


def ask_directory(  # noqa: PLR0913, PLR0917
    host: str,
    port: int,
    tls: bool,
    base: str,
    name: str = "",
    password: str = "",
    authorities: str = "",
    groups: Sequence[str] = (),
) -> dict[str, Any]:
    """Whether a directory takes a name and its password, and has an entry and groups."""
    try:
        with socket.create_connection((host, port), timeout=SECONDS) as plain:
            connection = plain
            if tls:
                connection = trust(authorities).wrap_socket(plain, server_hostname=host)
            code, words = ask(connection, 1, bind_request(name, password), BOUND)
            if code:
                return {"bind": code, "words": words}
            code, words = ask(connection, 2, base_request(base), DONE)
            missing = [
                group
                for number, group in enumerate(groups, 3)
                if ask(connection, number, base_request(group), DONE)[0] == NO_SUCH_ENTRY
            ]
            return {"bind": 0, "base": code, "words": words, "missing": missing}
    except (OSError, ValueError) as error:
        return {"failure": str(error) or type(error).__name__}


if __name__ == "__main__":
    question = json.load(sys.stdin)
    answers: dict[str, Any] = {}
    if "oidc" in question:
        answers["oidc"] = ask_provider(**question["oidc"])
    if "ldap" in question:
        answers["ldap"] = ask_directory(**question["ldap"])
    sys.stdout.write(json.dumps(answers) + "\n")
