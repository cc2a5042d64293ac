"""A certificate authority of the deployment's own, and what it signs.

The profile of both certificates: https://www.rfc-editor.org/rfc/rfc5280#section-4.2
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.tls.pair import LONGEST_COMMON_NAME, Pair, Role

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 397
"""Longer ones are refused by browsers
(https://cabforum.org/working-groups/server/baseline-requirements/)."""
BACKDATED = timedelta(days=1)
"""For clients whose clock is behind."""
USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
"""https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.12"""


def make_authority(deployment: str, now: datetime) -> Pair:
    """A root certificate for one deployment.

    Args:
        deployment: its name.
        now: the time, in UTC.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Atelier {deployment} root")])
    public = key.public_key()
    certificate = (
        _builder(name, name, public, now, now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def issue(authority: Pair, names: Sequence[str], now: datetime, role: Role = "server") -> Pair:
    """A certificate, signed by an authority.

    Args:
        authority: who signs.
        names: DNS names and IP addresses that it is for.
        now: the time, in UTC.
        role: what it is for.
    """
    root = x509.load_pem_x509_certificate(authority.certificate.encode())
    root_key = serialization.load_pem_private_key(authority.key.encode(), password=None)
    assert isinstance(root_key, ec.EllipticCurvePrivateKey)  # noqa: S101 - made above
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now - BACKDATED + timedelta(days=CERTIFICATE_DAYS), root.not_valid_after_utc)
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, names[0][:LONGEST_COMMON_NAME])],
    )
    usage = x509.ExtendedKeyUsage([USAGES[role]])
    certificate = (
        _builder(subject, root.subject, key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
            critical=False,
        )
        .sign(root_key, hashes.SHA256())
    )
    return _pair(certificate, key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pem = serialization.Encoding.PEM
    return Pair(
        certificate.public_bytes(pem).decode(),
        key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )
