"""Which certificate an end of a link has, as HAProxy tells it."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from ssl import PEM_cert_to_DER_cert

import pytest
from docker.errors import NotFound

from deploy.artefacts import Artefacts
from deploy.errors import ServiceError
from deploy.live import links, status
from deploy.live.connection import Connection
from deploy.services import Tier
from deploy.spec import HostSpec
from deploy.tls.authority import issue, make_authority
from deploy.tls.pair import LinkEnd, Pair
from tests.conftest import MakeArtefacts
from tests.services.test_launchd import on_a_mac

END, NAME = LinkEnd("b", "server"), "demo-link-server-b-0"
# of HAProxy 3.0.11
SAID = """Filename: link.pem
Status: Used
Serial: 7D6B66DC37EE56486E4CFDA8C744E1084ADD4602
notBefore: Nov 28 00:35:08 2026 GMT
notAfter: Dec 30 00:35:08 2027 GMT
Subject Alternative Name: DNS:b.link
Algorithm: EC256
SHA1 FingerPrint: {}
Subject: /CN=b.link
Issuer: /CN=Atelier lab links root
"""
OLD = "7D51A4EF4DE6915623B182D28B9DC362BC987D9E"


class Docker:
    """An engine with the one container, in which HAProxy says one thing after another."""

    def __init__(self, *said: str) -> None:
        self.said, self.containers = list(said), self

    def get(self, name: str) -> Docker:
        assert name == NAME
        if not self.said:
            raise NotFound("there is none")
        return self

    def exec_run(self, command: list[str]) -> tuple[int, bytes]:
        assert "show ssl cert link.pem" in command[-1]
        return 0, (self.said.pop(0) if len(self.said) > 1 else self.said[0]).encode()


def connection(*said: str) -> Connection:
    return Connection(HostSpec(name="b"), None, lambda: Docker(*said))  # type: ignore[arg-type,return-value]


@pytest.fixture
def lab(make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch) -> Artefacts:
    monkeypatch.setattr(links, "POLL_SECONDS", 0)
    hosts = [{"name": "a", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}]
    return make(hosts=hosts, models=[{"name": "tiny-coder", "replicas": 2}])


def own(lab: Artefacts) -> str:
    """What HAProxy says of the certificate that it was given."""
    der = PEM_cert_to_DER_cert(lab.secrets.value(END.certificate_name))
    return SAID.format(hashlib.sha1(der).hexdigest().upper())  # noqa: S324 - as HAProxy does


def test_what_it_says_is_read() -> None:
    found = links.parse(SAID.format(OLD))
    assert found
    assert found.sha1 == OLD.lower()
    assert time.gmtime(found.ends)[:3] == (2027, 12, 30)
    assert (
        links.parse("Can't display the certificate: Not found or the certificate is a bundle!")
        is None
    )


def test_an_entry_has_as_many_days_as_the_one_of_its_two_that_ends_first(
    make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [{"name": "a", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}]
    in_20_days = links.Loaded("", time.time() + 20.5 * 86400)
    monkeypatch.setattr(status, "certificate_days", lambda *_: 300)
    monkeypatch.setattr(status, "loaded", lambda *_: in_20_days)
    for host, days in (("b", 20), ("a", 300)):
        made = make(hosts=hosts, entry={"host": host, "names": ["ai.lab.example"]})
        [unit] = made.stack.tier(Tier.ENTRY)
        assert status._certificate_days(unit, made, connection()) == days


def test_it_is_waited_for(lab: Artefacts) -> None:
    said = links.ask_end(lab, END, NAME, connection(SAID.format(OLD), "", own(lab)))
    assert said.startswith("mutual TLS, certificate with ")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ((SAID.format(OLD),), "it has another certificate than it was given"),
        (("",), "HAProxy does not answer"),
        ((), "HAProxy does not answer"),
    ],
)
def test_one_that_has_another_or_none(
    lab: Artefacts, monkeypatch: pytest.MonkeyPatch, said: tuple[str, ...], why: str
) -> None:
    monkeypatch.setattr(links, "PATIENCE_SECONDS", 0)
    with pytest.raises(ServiceError) as refused:
        links.ask_end(lab, END, NAME, connection(*said))
    assert f"demo-link-server-b-0: {why}" in str(refused.value)
    assert "docker restart demo-link-server-b-0" in str(refused.value)


def tls_server(pair: Pair, authority: str, directory: Path) -> tuple[socket.socket, int]:
    """A server that wants a certificate of whoever connects, as HAProxy on a Mac does."""
    files = [directory / name for name in ("own.pem", "authority.pem")]
    files[0].write_text(pair.certificate + pair.key)
    files[1].write_text(authority)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files[1]))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files[0])
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except OSError:
                return
            with suppress(OSError), context.wrap_socket(accepted, server_side=True) as wrapped:
                wrapped.recv(1)

    threading.Thread(target=serve, daemon=True).start()
    return listening, listening.getsockname()[1]


def test_a_mac_shows_its_certificate_to_whoever_connects(
    make: MakeArtefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "POLL_SECONDS", 0)
    monkeypatch.setattr(links, "PATIENCE_SECONDS", 0)
    now, end = datetime.now(UTC), LinkEnd("mac", "server")
    artefacts = on_a_mac(make, engine={"kind": "ollama"})
    own = artefacts.secrets.links
    assert own is not None
    [(key, pair)] = [each for each in own.pairs.items() if each[0] == end.key]
    other = issue(make_authority("other", now), ("mac.link",), now, "server")
    way = Connection(HostSpec(name="@local"), None, Docker)  # type: ignore[arg-type]
    for shown, said in ((pair, "mutual TLS, certificate with 39"), (other, "it has another")):
        listening, port = tls_server(shown, own.authority.certificate, tmp_path)
        monkeypatch.setattr(way, "way", lambda _address, _port, at=port: ("127.0.0.1", at))
        with listening:
            if shown is pair:
                assert links.ask_end(artefacts, end, "demo-link-server-mac-0", way).startswith(said)
                continue
            with pytest.raises(ServiceError, match=said) as error:
                links.ask_end(artefacts, end, "demo-link-server-mac-0", way)
            assert "sudo launchctl kickstart -k system/demo-link-server-mac-0" in str(error.value)
    assert key == "mac server"
    monkeypatch.setattr(way, "way", lambda *_: ("127.0.0.1", 9))
    with pytest.raises(ServiceError, match="HAProxy does not answer"):
        links.ask_end(artefacts, end, "demo-link-server-mac-0", way)


@pytest.mark.parametrize(
    ("days", "renews_itself", "ok"),
    [(None, False, True), (7, False, True), (6, False, False), (6, True, True), (-1, True, False)],
)
def test_a_certificate_that_ends_this_week_is_not_in_order(
    days: int | None, renews_itself: bool, ok: bool
) -> None:
    found = status.ServiceStatus(
        *("link-client", "a", "haproxy:3", "running", "healthy", (), "", 60, 0, 0),
        certificate_days=days,
        certificate_renews_itself=renews_itself,
    )
    assert found.ok is ok
