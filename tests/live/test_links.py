"""Which certificate an end of a link has, as HAProxy tells it."""

from __future__ import annotations

import hashlib
import time
from ssl import PEM_cert_to_DER_cert

import pytest
from docker.errors import NotFound

from deploy.artefacts import Artefacts
from deploy.errors import ServiceError
from deploy.live import links, status
from deploy.live.connection import Connection
from deploy.services import Tier
from deploy.spec import HostSpec
from deploy.tls.pair import LinkEnd
from tests.conftest import MakeArtefacts

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
