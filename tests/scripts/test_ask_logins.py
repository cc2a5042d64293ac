"""What a directory answers, in the bytes of LDAP; tests/e2e asks a real one."""

from __future__ import annotations

import http.server
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from typing import Any

import pytest

from deploy.facts.logins import Logins
from deploy.scripts import ask_logins
from deploy.scripts.ask_logins import BIND, BOUND, DONE, SEARCH, element, split, text
from tests.serving import running

SCRIPT = Path(ask_logins.__file__)


def answer(number: int, tag: int, code: int, words: str = "") -> bytes:
    body = element(0x0A, bytes([code])) + text("") + text(words)
    return element(0x30, element(0x02, bytes([number])) + element(tag, body))


class Directory(BaseRequestHandler):
    """Takes one password, and has one entry."""

    def handle(self) -> None:
        while data := self.request.recv(4096):
            _, message, _ = split(data)
            _, number, rest = split(message)
            tag, body, _ = split(rest)
            replies = {BIND: self.bound, SEARCH: self.searched}[tag](number[0], body)
            for byte in replies:
                # in as many parts as there can be
                self.request.sendall(bytes([byte]))

    def bound(self, number: int, body: bytes) -> bytes:
        _, version, rest = split(body)
        _, name, rest = split(rest)
        tag, password, _ = split(rest)
        assert (version, tag) == (b"\x03", 0x80)
        is_right = (name, password) == (b"cn=reader", b"right" * 40)
        return answer(number, BOUND, 0 if is_right else 49, "" if is_right else "no" * 90)

    def searched(self, number: int, body: bytes) -> bytes:
        _, base, _ = split(body)
        entry = element(0x30, element(0x02, bytes([number])) + element(0x64, text("dc=lab")))
        done = answer(number, DONE, 0 if base == b"dc=lab" else 32)
        return entry + done if base == b"dc=lab" else done


@contextmanager
def serve(server: TCPServer) -> Iterator[int]:
    with running(server):
        yield server.server_address[1]


def ask(question: dict[str, Any], **environment: str) -> Any:
    """As a host does: what is asked is on standard input."""
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT.read_text()],
        input=json.dumps(question),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(finished.stdout)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"password": "right" * 40}, {"bind": 0, "base": 0, "words": "", "missing": []}),
        (
            {"password": "right" * 40, "groups": ["dc=lab", "cn=gröup\\, x,dc=lab"]},
            {"bind": 0, "base": 0, "words": "", "missing": ["cn=gröup\\, x,dc=lab"]},
        ),
        ({"password": "wrong"}, {"bind": 49, "words": "no" * 90}),
        (
            {"password": "right" * 40, "base": "dc=no"},
            {"bind": 0, "base": 32, "words": "", "missing": []},
        ),
    ],
)
def test_a_directory(asked: dict[str, Any], found: dict[str, Any]) -> None:
    with serve(TCPServer(("127.0.0.1", 0), Directory)) as port:
        question = {"host": "127.0.0.1", "port": port, "tls": False, "base": "dc=lab"}
        assert ask({"ldap": question | {"name": "cn=reader"} | asked}) == {"ldap": found}


def test_nobody_listens() -> None:
    with serve(TCPServer(("127.0.0.1", 0), Directory)) as port:
        pass
    question = {"host": "127.0.0.1", "port": port, "tls": False, "base": "dc=lab"}
    assert "refused" in ask({"ldap": question})["ldap"]["failure"]


class Provider(http.server.BaseHTTPRequestHandler):
    """Describes itself at one path."""

    def do_GET(self) -> None:
        known = {"/right": b'{"issuer": "https://id.lab", "token_endpoint": "t"}', "/text": b"hi"}
        status = 302 if self.path == "/moved" else 404
        self.send_response(200 if self.path in known else status)
        if status == 302:
            self.send_header("Location", "/right")
        self.end_headers()
        self.wfile.write(known.get(self.path, b""))

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (
            "right",
            {
                "issuer": "https://id.lab",
                "authorization_endpoint": "",
                "token_endpoint": "t",
                "end_session_endpoint": "",
            },
        ),
        ("text", {"failure": "what it answers is not JSON"}),
        ("other", {"failure": "HTTP 404"}),
        # the web UI would not follow it
        ("moved", {"failure": "HTTP 302, a redirect to /right"}),
    ],
)
def test_a_provider(path: str, found: dict[str, str]) -> None:
    with serve(http.server.HTTPServer(("127.0.0.1", 0), Provider)) as port:
        assert ask({"oidc": {"url": f"http://127.0.0.1:{port}/{path}"}}) == {"oidc": found}


@pytest.mark.parametrize(
    ("proxies", "answers"),
    [
        ({}, True),
        ({"http_proxy": "http://127.0.0.1:1"}, False),
        ({"http_proxy": "http://127.0.0.1:1", "no_proxy": "127.0.0.1"}, True),
    ],
)
def test_a_provider_is_asked_the_way_the_web_ui_takes(
    proxies: dict[str, str], *, answers: bool
) -> None:
    """Not the way that the host's own environment says."""
    with serve(http.server.HTTPServer(("127.0.0.1", 0), Provider)) as port:
        question = {"url": f"http://127.0.0.1:{port}/right", "proxies": proxies}
        found = ask({"oidc": question}, http_proxy="http://127.0.0.1:2", no_proxy="lab")["oidc"]
    assert ("failure" not in found) is answers


def test_newer_pythons_are_as_strict_as_the_web_ui(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of hosts from 3.13 on refuse many authorities of sites; the web UI has an older one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    usual = context.verify_flags
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: context)
    assert ask_logins.trust("").verify_flags == usual


@pytest.mark.parametrize("python", ["", "#!/bin/sh\necho SyntaxError >&2; exit 1\n"])
def test_a_host_without_python_or_with_an_old_one_asks_nobody(tmp_path: Path, python: str) -> None:
    if python:
        (tmp_path / "python3").write_text(python)
        (tmp_path / "python3").chmod(0o755)
    finished = subprocess.run(
        ["/bin/sh", "-c", Logins().command()],
        input="{}",
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (finished.returncode, finished.stdout) == (0, "")
