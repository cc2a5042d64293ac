"""An authority of a deployment's own, and what it signs, as Python's own TLS sees it."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from deploy.tls.authority import issue, make_authority
from deploy.tls.pair import OwnCertificates, Pair
from deploy.tls.read import read_certificate, read_der
from deploy.tls.renewal import provide, why_renew

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NAMES = ("ai.lab.example", "10.0.0.5", "fd00::5")


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority("coder", NOW)


@pytest.fixture(scope="module")
def made() -> OwnCertificates:
    return provide(None, "coder", NAMES, NOW)


def handshake(server: Pair, root: str, name: str, directory: Path) -> str:
    """What Python's TLS says of a server, with the strictest checks that it has."""
    path = directory / "server.pem"
    path.write_text(server.certificate + server.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(cadata=root)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with suppress(OSError), context.wrap_socket(theirs, server_side=True) as secured:
            secured.recv(1)

    threading.Thread(target=serve, daemon=True).start()
    with ours, client.wrap_socket(ours, server_hostname=name) as secured:
        return read_der(secured.getpeercert(binary_form=True) or b"").subject


def test_an_authority_only_signs_servers(authority: Pair) -> None:
    root = x509.load_pem_x509_certificate(authority.certificate.encode())
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.digital_signature) == (True, False)
    facts = read_certificate(authority.certificate)
    assert (facts.subject, facts.issuer) == ("Atelier coder root", "Atelier coder root")
    assert facts.days_left(NOW) == 3650


def test_what_it_signs_says_whom_it_is_for(authority: Pair) -> None:
    facts = read_certificate(issue(authority, NAMES, NOW).certificate)
    assert facts.names == NAMES
    assert facts.issuer == "Atelier coder root"
    assert (facts.ends - facts.starts).days == 397
    assert facts.starts == NOW - timedelta(days=1)


@pytest.mark.parametrize("name", NAMES)
def test_strict_tls_believes_it(made: OwnCertificates, tmp_path: Path, name: str) -> None:
    now = provide(None, "coder", NAMES, datetime.now(UTC))
    root = now.authority.certificate
    assert handshake(now.server, root, name, tmp_path) == "ai.lab.example"
    with pytest.raises(ssl.SSLCertVerificationError, match="match"):
        handshake(now.server, root, "other.lab.example", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(now.server, made.authority.certificate, name, tmp_path)


def test_a_certificate_ends_no_later_than_its_authority(authority: Pair) -> None:
    late = NOW + timedelta(days=3600)
    facts = read_certificate(issue(authority, NAMES, late).certificate)
    assert facts.ends == read_certificate(authority.certificate).ends


def test_one_that_lasts_as_long_as_its_authority_stays(authority: Pair) -> None:
    late = NOW + timedelta(days=3600)
    kept = OwnCertificates(authority, issue(authority, NAMES, late))
    assert provide(kept, "coder", NAMES, NOW + timedelta(days=3640)) == kept


def test_an_authority_that_has_ended_signs_nothing(made: OwnCertificates) -> None:
    assert provide(made, "coder", ["other.example"], NOW + timedelta(days=3700)) == made


def test_long_names_are_possible(authority: Pair) -> None:
    name = ".".join(["a" * 60] * 4)
    facts = read_certificate(issue(authority, [name], NOW).certificate)
    assert facts.covers(name)


def test_keys_are_not_shown(made: OwnCertificates) -> None:
    assert "PRIVATE" not in repr(made)


def test_the_first_time_everything_is_made(made: OwnCertificates) -> None:
    assert made.is_new
    assert made.reasons == (
        "a certificate authority, and a certificate for ai.lab.example, 10.0.0.5, fd00::5",
    )


def test_what_is_good_is_kept(made: OwnCertificates) -> None:
    kept = OwnCertificates(made.authority, made.server)
    assert provide(kept, "coder", NAMES, NOW + timedelta(days=350)) == kept
    # in whichever order
    assert provide(kept, "coder", NAMES[::-1], NOW) == kept


@pytest.mark.parametrize(
    ("names", "days", "reason"),
    [
        (
            NAMES,
            352,
            "a certificate for ai.lab.example, 10.0.0.5, fd00::5: the one there is has 44",
        ),
        (NAMES, 500, "has -104 days left"),
        (("new.lab.example",), 0, "a certificate for new.lab.example instead of ai.lab.example,"),
    ],
)
def test_what_is_not_is_renewed_by_the_same_authority(
    made: OwnCertificates, names: tuple[str, ...], days: int, reason: str
) -> None:
    kept, later = OwnCertificates(made.authority, made.server), NOW + timedelta(days=days)
    renewed = provide(kept, "coder", names, later)
    assert reason in renewed.reasons[0]
    assert (renewed.authority, renewed.previous) == (kept.authority, kept.server)
    assert not renewed.is_new
    assert why_renew(renewed, names, later) == ""
    assert renewed.server.key != kept.server.key


def test_a_certificate_of_another_authority_is_renewed(made: OwnCertificates) -> None:
    other = replace(made, authority=make_authority("coder", NOW))
    assert "the authority did not sign the one there is" in why_renew(other, NAMES, NOW)


@pytest.mark.parametrize(
    ("pattern", "name", "is_covered"),
    [
        ("ai.lab.example", "ai.lab.example", True),
        ("*.lab.example", "ai.lab.example", True),
        ("*.lab.example", "lab.example", False),
        ("*.lab.example", "a.ai.lab.example", False),
        ("*.example", "10.0.0.5", False),
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.50", "10.0.0.5", False),
        ("fd00::5", "fd00:0::5", True),
    ],
)
def test_names_that_a_certificate_covers(pattern: str, name: str, is_covered: bool) -> None:
    facts = read_certificate(provide(None, "c", ["x"], NOW).server.certificate)
    assert replace(facts, names=(pattern,)).covers(name) is is_covered
