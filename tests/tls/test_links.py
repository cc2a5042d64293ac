"""Certificates of links: who gets which, when they are made anew, and what each is good for."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.tls.authority import CERTIFICATE_DAYS, issue, make_authority
from deploy.tls.links import provide_links
from deploy.tls.pair import LinkCertificates, LinkEnd, Pair, plain_name
from deploy.tls.read import read_certificate

NOW = datetime.now(UTC)
CLIENT, B, C = LinkEnd("a", "client"), LinkEnd("b", "server"), LinkEnd("c", "server")


@pytest.fixture(scope="module")
def made() -> LinkCertificates:
    return provide_links(None, "lab", (B, CLIENT), NOW)


def meet(server: Pair, client: Pair | None, trusted: Pair, directory: Path) -> str:
    """What two ends say of each other, each of which trusts one authority."""
    sides = {}
    for name, pair in (("server", server), ("client", client)):
        purpose = ssl.PROTOCOL_TLS_SERVER if name == "server" else ssl.PROTOCOL_TLS_CLIENT
        sides[name] = ssl.SSLContext(purpose)
        sides[name].load_verify_locations(cadata=trusted.certificate)
        sides[name].verify_mode = ssl.CERT_REQUIRED
        if pair:
            path = directory / f"{name}.pem"
            path.write_text(pair.certificate + pair.key)
            sides[name].load_cert_chain(path)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with suppress(OSError), sides["server"].wrap_socket(theirs, server_side=True) as secured:
            secured.sendall(b"ok")

    threading.Thread(target=serve, daemon=True).start()
    try:
        with ours, sides["client"].wrap_socket(ours, server_hostname=B.name) as secured:
            return secured.recv(2).decode()
    except ssl.SSLError as error:
        return str(error.reason)


def test_both_ends_believe_each_other(made: LinkCertificates, tmp_path: Path) -> None:
    server, client = made.pairs[B.key], made.pairs[CLIENT.key]
    assert meet(server, client, made.authority, tmp_path) == "ok"


def test_a_certificate_is_good_for_one_end_alone(made: LinkCertificates, tmp_path: Path) -> None:
    server, client = made.pairs[B.key], made.pairs[CLIENT.key]
    as_client = meet(server, server, made.authority, tmp_path)
    assert "UNSUPPORTED_CERTIFICATE" in as_client, as_client
    named = issue(made.authority, (B.name,), NOW, "client")
    assert meet(named, client, made.authority, tmp_path) == "CERTIFICATE_VERIFY_FAILED"


def test_who_has_none_or_another_or_an_old_one_is_refused(
    made: LinkCertificates, tmp_path: Path
) -> None:
    server = made.pairs[B.key]
    past = NOW - timedelta(days=CERTIFICATE_DAYS + 1)
    other = issue(make_authority("lab links", NOW), (CLIENT.name,), NOW, "client")
    expired = issue(made.authority, (CLIENT.name,), past, "client")
    said = [meet(server, each, made.authority, tmp_path) for each in (None, other, expired)]
    assert ["ALERT" in each for each in said] == [True] * 3, said


def test_a_server_of_another_host_is_not_believed(made: LinkCertificates, tmp_path: Path) -> None:
    other = issue(made.authority, (C.name,), NOW)
    said = meet(other, made.pairs[CLIENT.key], made.authority, tmp_path)
    assert said == "CERTIFICATE_VERIFY_FAILED"


def test_what_is_made_first(made: LinkCertificates) -> None:
    assert made.is_new
    assert made.reasons == (
        "a certificate authority for links",
        "a certificate for b.link as a server",
        "a certificate for a.link as a client",
    )
    assert read_certificate(made.authority.certificate).subject == "Atelier lab links root"


def test_what_is_kept_stays(made: LinkCertificates) -> None:
    again = provide_links(made, "lab", (CLIENT, B), NOW + timedelta(days=CERTIFICATE_DAYS - 50))
    assert (again.reasons, again.is_new, again.previous) == ((), False, {})
    assert again.pairs == made.pairs


def test_a_host_more_and_a_host_less(made: LinkCertificates) -> None:
    found = provide_links(made, "lab", (C, CLIENT), NOW)
    assert found.reasons == ("a certificate for c.link as a server",)
    assert set(found.pairs) == {C.key, CLIENT.key}
    assert found.pairs[CLIENT.key] == made.pairs[CLIENT.key]


def test_a_router_that_moves_gets_a_certificate_of_another_role(made: LinkCertificates) -> None:
    ends = (LinkEnd("a", "server"), LinkEnd("b", "client"))
    found = provide_links(made, "lab", ends, NOW)
    assert found.reasons == (
        "a certificate for a.link as a server",
        "a certificate for b.link as a client",
    )


def test_those_that_end_soon_are_renewed(made: LinkCertificates) -> None:
    found = provide_links(made, "lab", (B, CLIENT), NOW + timedelta(days=CERTIFICATE_DAYS - 20))
    assert found.reasons == (
        "a certificate for b.link: the one there is has 18 days left",
        "a certificate for a.link: the one there is has 18 days left",
    )
    assert found.authority == made.authority
    assert found.previous == made.pairs
    assert not set(found.pairs.values()) & set(made.pairs.values())


@pytest.mark.parametrize("first", range(0, 35, 3))
def test_who_deploys_once_a_month_never_has_one_that_ended(
    made: LinkCertificates, first: int
) -> None:
    """On the same day of each month, and 4 days late once in a while."""
    kept, passed = made, first
    for month in range(60):
        now = NOW + timedelta(days=passed)
        ends = min(read_certificate(pair.certificate).ends for pair in kept.pairs.values())
        assert ends > now + timedelta(days=7)
        kept = provide_links(kept, "lab", (B, CLIENT), now)
        passed += 35 if month % 5 == 0 else 31


def test_an_authority_that_ends_soon_is_made_anew_with_all(made: LinkCertificates) -> None:
    found = provide_links(made, "lab", (B, CLIENT), NOW + timedelta(days=3640))
    assert found.is_new
    assert found.authority != made.authority
    assert len(found.reasons) == 3


@pytest.mark.parametrize(
    ("host", "name"),
    [("gpu1", "gpu1"), ("@local", "local"), ("fd00::1", "fd00--1"), ("GPU_1.lab", "gpu-1.lab")],
)
def test_names_of_hosts(host: str, name: str) -> None:
    assert plain_name(host) == name
    pair = issue(make_authority("x", NOW), (LinkEnd(host, "server").name,), NOW)
    assert read_certificate(pair.certificate).names == (f"{name}.link",)
