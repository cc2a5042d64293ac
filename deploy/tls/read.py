"""What a certificate says.

The library that reads certificates is imported with the first one: many runs have none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

SECONDS_A_DAY = 86400


@dataclass(frozen=True)
class CertificateFacts:
    """A certificate in a few words."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    """DNS names, which may start with ``*.``, and IP addresses."""
    starts: datetime
    ends: datetime
    """In UTC."""
    sha256: str
    """Fingerprint, in hexadecimal digits."""

    def days_left(self, now: datetime) -> int:
        """Whole days until it ends; negative once it has ended."""
        return int((self.ends - now).total_seconds() // SECONDS_A_DAY)

    def covers(self, name: str) -> bool:
        """Whether it is for a name (https://www.rfc-editor.org/rfc/rfc6125#section-6.4)."""
        return any(_matches(pattern, name) for pattern in self.names)


def read_certificate(pem: str) -> CertificateFacts:
    """The first certificate of a PEM text.

    Raises:
        ValueError: if there is none.
    """
    from cryptography.x509 import load_pem_x509_certificates

    return _facts(load_pem_x509_certificates(pem.encode())[0])


def read_der(data: bytes) -> CertificateFacts:
    """A certificate as TLS sends it.

    Raises:
        ValueError: if it is none.
    """
    from cryptography.x509 import load_der_x509_certificate

    return _facts(load_der_x509_certificate(data))


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    from cryptography.hazmat.primitives.serialization import Encoding

    return CertificateFacts(
        subject=_common_name(certificate.subject),
        issuer=_common_name(certificate.issuer),
        names=_names(certificate),
        starts=certificate.not_valid_before_utc.astimezone(UTC),
        ends=certificate.not_valid_after_utc.astimezone(UTC),
        sha256=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
    )


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = found.get_values_for_type(x509.IPAddress)
    return (
        *(name.lower() for name in found.get_values_for_type(x509.DNSName)),
        *(str(address) for address in addresses),
    )


def _matches(pattern: str, name: str) -> bool:
    try:
        return ip_address(pattern) == ip_address(name)
    except ValueError:
        pass
    if pattern == name:
        return True
    # a star stands for one part
    _, _, parent = name.partition(".")
    return pattern.startswith("*.") and bool(parent) and pattern[2:] == parent
