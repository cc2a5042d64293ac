"""The entry as its users meet it: real TLS, with good and bad certificates."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from deploy.artefacts import Artefacts
from deploy.errors import ServiceError
from deploy.live.connection import Connection
from deploy.live.entry import ask_entry, certificate_days, entry_base
from deploy.live.http import Secure, post, stream
from deploy.spec import HostSpec
from deploy.tls.authority import issue
from deploy.tls.pair import ENTRY_CERTIFICATE, ENTRY_KEY, Pair
from tests.conftest import MakeArtefacts
from tests.e2e.site import free_port
from tests.serving import running
from tests.tls.site import site_pair, write_pair

LOCAL = Connection(HostSpec(name="@local"), None, lambda: None)  # type: ignore[arg-type, return-value]
NAMES = ["ai.lab.example", "10.0.0.5"]


class Handler(BaseHTTPRequestHandler):
    location = ""
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.send_response(308)
        self.send_header("Location", self.location)
        self.end_headers()

    def do_POST(self) -> None:
        self.asked.append((self.path, str(self.headers["Host"])))
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = 'data: {"n": 1}\n\ndata: [DONE]\n\n' if body.get("stream") else '{"n": 1}'
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(port: int, handler: type[Handler], pair: Pair | None, path: Path) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    if pair:
        path.write_text(pair.certificate + pair.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server):
        yield


@pytest.fixture
def made(make: MakeArtefacts) -> Artefacts:
    return make(entry={"names": NAMES, "http_port": free_port(), "https_port": free_port()})


def own_pair(made: Artefacts) -> Pair:
    return Pair(made.secrets.value(ENTRY_CERTIFICATE), made.secrets.value(ENTRY_KEY))


@contextmanager
def entry_of(made: Artefacts, pair: Pair, path: Path, location: str = "") -> Iterator[Handler]:
    plan = made.plan.entry
    assert plan
    where = location or f"{plan.urls[0]}/health"
    handler: Any = type("Own", (Handler,), {"location": where, "asked": []})
    with (
        serving(plan.spec.https_port, handler, pair, path / "pair.pem"),
        serving(plan.spec.http_port, handler, None, path),
    ):
        yield handler


def ask(made: Artefacts) -> str:
    assert made.plan.entry
    return ask_entry(made, made.plan.entry, LOCAL).detail


def test_an_entry_that_proves_its_names(made: Artefacts, tmp_path: Path) -> None:
    with entry_of(made, own_pair(made), tmp_path):
        text = ask(made)
    assert "certificate of Atelier demo root with 395 days left" in text
    assert text.startswith("TLSv1.3")


def test_certificates_of_the_site(make: MakeArtefacts, tmp_path: Path) -> None:
    pair = site_pair(*NAMES)
    write_pair(pair, tmp_path)
    ports = {"http_port": free_port(), "https_port": free_port()}
    made = make(entry=ports | {"names": NAMES, "certificate": "site.crt", "key": "site.key"})
    with entry_of(made, pair, tmp_path):
        assert "certificate of Atelier site root" in ask(made)


@pytest.mark.parametrize(
    ("pair", "found"),
    [
        (site_pair(*NAMES), "is not trusted: "),
        (None, "no TLS at 127.0.0.1"),
    ],
    ids=["another authority", "nothing there"],
)
def test_an_entry_that_is_another(
    made: Artefacts, tmp_path: Path, pair: Pair | None, found: str
) -> None:
    if pair is None:
        with pytest.raises(ServiceError, match=found):
            ask(made)
        return
    with entry_of(made, pair, tmp_path), pytest.raises(ServiceError, match=found):
        ask(made)


def test_a_name_that_is_not_in_the_certificate(made: Artefacts, tmp_path: Path) -> None:
    assert made.secrets.certificates
    wrong = issue(made.secrets.certificates.authority, NAMES[:1], datetime.now(UTC))
    with entry_of(made, wrong, tmp_path), pytest.raises(ServiceError, match=r"10\.0\.0\.5 is not"):
        ask(made)


def test_a_plain_port_that_leads_elsewhere(made: Artefacts, tmp_path: Path) -> None:
    with (
        entry_of(made, own_pair(made), tmp_path, "https://elsewhere.example/health"),
        pytest.raises(ServiceError, match=r"308 to https://elsewhere\.example/health"),
    ):
        ask(made)


def test_questions_are_asked_under_the_first_name(made: Artefacts, tmp_path: Path) -> None:
    plan = made.plan.entry
    assert plan
    base = entry_base(made, plan, LOCAL)
    with entry_of(made, own_pair(made), tmp_path) as handler:
        assert post(base, "/v1/x", "key", {}) == {"n": 1}
        assert stream(base, "/v1/y", "key", {}) == [{"n": 1}]
    host = f"ai.lab.example:{plan.spec.https_port}"
    assert handler.asked == [("/v1/x", host), ("/v1/y", host)]


def test_questions_go_to_nobody_else(made: Artefacts, tmp_path: Path) -> None:
    plan = made.plan.entry
    assert plan
    base = entry_base(made, plan, LOCAL)
    with entry_of(made, site_pair(*NAMES), tmp_path) as handler:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            post(base, "/v1/x", "key", {})
        other = Secure(base.url, "other.example", base.trusted)
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            post(other, "/v1/x", "key", {})
    assert handler.asked == []


@pytest.mark.parametrize(("days_ago", "left"), [(0, 395), (400, -5)])
def test_days_left(made: Artefacts, tmp_path: Path, days_ago: int, left: int) -> None:
    """Whoever signed it: an expired one is seen, too."""
    assert made.plan.entry
    with entry_of(made, site_pair("x", days_ago=days_ago), tmp_path):
        assert certificate_days(made.plan.entry, LOCAL) == left
    assert certificate_days(made.plan.entry, LOCAL) is None
