"""Keys that an authority has signed: those of hosts, and what a certificate is for.

Format: https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.certkeys
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import paramiko
from paramiko.message import Message

SUFFIX = "-cert-v01@openssh.com"
KEY_FIELDS = {
    **{"ssh-ed25519": 1, "ecdsa-sha2": 2, "ssh-rsa": 2},
    **{"sk-ssh-ed25519": 2, "sk-ecdsa-sha2": 3},
}
"""How many fields the key itself has, by the beginning of its kind."""
ALGORITHMS = tuple(
    f"{kind}{SUFFIX}"
    for kind in (
        *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
        *("rsa-sha2-512", "rsa-sha2-256"),
    )
)
OF_A_HOST = 2
TOO_WEAK = "ssh-rsa"
"""Signatures with SHA-1, which OpenSSH does not take from authorities."""


@dataclass(frozen=True)
class HostCertificate:
    """What an authority says of a key."""

    kind: int
    names: tuple[str, ...]
    """Hosts that it is for; with none, for all."""
    valid_after: int
    valid_before: int
    critical: bytes
    authority: bytes
    """The authority's public key."""
    signed: bytes
    signature: bytes

    @classmethod
    def of(cls, key: paramiko.PKey) -> HostCertificate | None:
        """The certificate that came with a server's key, if one did."""
        blob = getattr(key, "public_blob", None)
        return _parse(blob.key_blob) if blob and blob.key_type.endswith(SUFFIX) else None

    def check(self, name: str) -> None:
        """Return if it is good for a host, now.

        Raises:
            SSHException: with what is wrong.
        """
        reason = self._problem(name)
        if reason:
            raise paramiko.SSHException(f"the certificate of {name!r} is not accepted: {reason}")

    def _problem(self, name: str) -> str:
        if self.kind != OF_A_HOST:
            return "it is not that of a host"
        if not self.valid_after <= time.time() < self.valid_before:
            return "it has expired, or is not valid yet"
        if self.names and not any(fnmatchcase(name, each.lower()) for each in self.names):
            return f"it is for {', '.join(self.names)}"
        if self.critical:
            return "it has options that are not known here"
        return "" if self._is_signed() else "its signature is wrong"

    def _is_signed(self) -> bool:
        authority = paramiko.PKey.from_type_string(
            Message(self.authority).get_text(), self.authority
        )
        weak = Message(self.signature).get_text() == TOO_WEAK
        return not weak and bool(authority.verify_ssh_sig(self.signed, Message(self.signature)))


def key_in(blob: bytes) -> bytes:
    """The public key that a certificate is for; another public key as it is."""
    message = Message(blob)
    kind = message.get_text()
    if not kind.endswith(SUFFIX):
        return blob
    message.get_binary()  # a random number before the key
    key = Message()
    key.add_string(kind.removesuffix(SUFFIX) + ("@openssh.com" if kind.startswith("sk-") else ""))
    for _ in range(_fields(kind)):
        key.add_string(message.get_binary())
    return bytes(key.asbytes())


def _fields(kind: str) -> int:
    return next(count for begin, count in KEY_FIELDS.items() if kind.startswith(begin))


def _parse(blob: bytes) -> HostCertificate:
    message = Message(blob)
    for _ in range(_fields(message.get_text()) + 1):  # a random number before the key
        message.get_binary()
    message.get_int64()  # serial number
    what = message.get_int()
    message.get_binary()  # identity
    names = tuple(_texts(message.get_binary()))
    after, before = message.get_int64(), message.get_int64()
    critical = message.get_binary()
    message.get_binary()  # extensions
    message.get_binary()  # reserved
    authority = message.get_binary()
    signed = message.get_so_far()
    return HostCertificate(
        what, names, after, before, critical, authority, signed, message.get_binary()
    )


def _texts(data: bytes) -> Iterator[str]:
    message = Message(data)
    while message.get_remainder():
        yield message.get_text()
