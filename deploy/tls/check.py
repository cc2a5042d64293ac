"""Whether a site's certificate and key can be served: looked at before anything is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from deploy.errors import Problem
from deploy.tls.pair import Pair
from deploy.tls.read import read_certificate

CERTIFICATE, KEY, NAMES = "entry.certificate", "entry.key", "entry.names"


def pair_problems(pair: Pair, names: Sequence[str]) -> Iterator[Problem]:
    """What keeps a pair from being served under names; its dates are looked at elsewhere.

    Args:
        pair: the certificate and the key as read from the site's files.
        names: what people type.
    """
    certificates, problems = _certificates(pair.certificate)
    key, more = _key(pair.key)
    yield from (*problems, *more)
    if not certificates:
        return
    if key and _public(key.public_key()) != _public(certificates[0].public_key()):
        yield Problem(
            KEY,
            "not the key of the certificate: their public keys differ",
            "the private key that the certificate was made for",
            "declare the matching pair; where the certificate is one of several in its file, the"
            " server's own stands first",
        )
    yield from _name_problems(pair.certificate, names)


def certificate_problems(pem: str, setting: str) -> Iterator[Problem]:
    """What keeps a text from being certificates in PEM.

    Args:
        pem: the text.
        setting: where its file is declared.
    """
    yield from _certificates(pem, setting)[1]


def _name_problems(certificate: str, names: Sequence[str]) -> Iterator[Problem]:
    facts = read_certificate(certificate)
    missing = [name for name in names if not facts.covers(name)]
    if missing:
        yield Problem(
            NAMES,
            f"the certificate does not cover {', '.join(missing)}",
            ", ".join(facts.names) or "no name at all: it has no subjectAltName",
            "declare names that it covers, or have it made for these",
        )


def _certificates(
    pem: str, setting: str = CERTIFICATE
) -> tuple[list[x509.Certificate], list[Problem]]:
    try:
        return x509.load_pem_x509_certificates(pem.encode()), []
    except ValueError:
        found = "no certificate in PEM: what is there cannot be read"
        if "CERTIFICATE-----" not in pem:
            found = "no certificate in PEM: no line says BEGIN CERTIFICATE"
    fix = "a DER or PKCS #12 file is converted by openssl x509, or openssl pkcs12 -nokeys"
    return [], [Problem(setting, found, "-----BEGIN CERTIFICATE----- and its text", fix)]


def _key(pem: str) -> tuple[PrivateKeyTypes | None, list[Problem]]:
    try:
        return load_pem_private_key(pem.encode(), password=None), []
    except TypeError:
        problem = Problem(
            KEY,
            "the key is encrypted with a passphrase, which no one can type when the entry starts",
            "a key without a passphrase, in a file that only you can read",
            "decrypt it: openssl pkey -in KEY -out NEW",
        )
    except Exception:
        problem = Problem(
            KEY,
            "no private key in PEM: what is there cannot be read",
            "-----BEGIN PRIVATE KEY----- and its text",
            "a DER or PKCS #12 file is converted by openssl pkey, or openssl pkcs12 -nocerts",
        )
    return None, [problem]


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return encoded
