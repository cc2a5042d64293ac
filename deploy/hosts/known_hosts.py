"""Host keys as OpenSSH knows them: names with patterns, hashed names, authorities, revoked keys.

paramiko's own reading of these files knows no patterns and no authorities, takes the first of
several keys of one kind for the only one, and asks a server for keys that it does not know.
Format: https://man.openbsd.org/sshd#SSH_KNOWN_HOSTS_FILE_FORMAT
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import paramiko

from deploy.hosts.host_certificate import ALGORITHMS as CERTIFICATES
from deploy.hosts.host_certificate import HostCertificate
from deploy.hosts.revoked_keys import is_revoked

TIMEOUT_SECONDS = 30
AUTHORITY, REVOKED = "@cert-authority", "@revoked"
WITH_PORT = re.compile(r"\[(?P<name>.+)\]:\d+")
SPECIAL = re.compile(r"[*?!]")
PLAIN = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("rsa-sha2-512", "rsa-sha2-256"),
)
"""How servers may prove what they are, the best first."""
RSA = "ssh-rsa"


@dataclass(frozen=True)
class Line:
    """A line of a file: a key, and the hosts that it is of."""

    marker: str
    names: str
    kind: str
    key: bytes

    def is_of(self, name: str) -> bool:
        """Whether one of its names or patterns matches, and none that begins with ``!`` does."""
        if self.names.startswith("|1|"):
            return _hashes(self.names, name)
        patterns = self.names.lower().split(",")
        if not SPECIAL.search(self.names):
            # files may have thousands of lines
            return name in patterns
        if any(_matches(pattern[1:], name) for pattern in patterns if pattern[:1] == "!"):
            return False
        return any(_matches(pattern, name) for pattern in patterns if pattern[:1] != "!")


def parse(text: str) -> Iterator[Line]:
    """The lines that make sense; the others say nothing about any host."""
    for row in text.splitlines():
        marker, _, rest = row.strip().partition(" ") if row.startswith("@") else ("", "", row)
        match rest.split():
            case [names, kind, key, *_] if names[0] != "#" and marker in {"", AUTHORITY, REVOKED}:
                try:
                    yield Line(marker, names, kind, base64.b64decode(key, validate=True))
                except binascii.Error:
                    continue


class AnyKey(paramiko.MissingHostKeyPolicy):
    """Accepts every server (NoHostAuthenticationForLocalhost, at the end of tunnels)."""

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Return whatever the key is."""


class KnownHosts(paramiko.MissingHostKeyPolicy):
    """Decides whether a server is who it should be.

    Args:
        files: files of known hosts; a new key is added to the first one.
        command: prints further lines, if there is one.
        accept_new: whether the key of a host that was never seen is accepted.
        revoked: file of keys that no host may have, if there is one (RevokedHostKeys).

    Raises:
        SSHException: if the command fails.
    """

    def __init__(
        self,
        files: Sequence[str],
        command: Sequence[str] = (),
        *,
        accept_new: bool,
        revoked: str | None = None,
    ) -> None:
        self._revoked = revoked
        self._lines = [*_said(command), *(line for path in files for line in _read(path))]
        self._new = Path(files[0]) if accept_new and files else None
        self._accept_new = accept_new

    def algorithms(self, name: str) -> list[str]:
        """What the server is asked to prove itself with: what is known of it first."""
        lines = [line for line in self._lines if line.is_of(name)]
        first = CERTIFICATES if any(line.marker == AUTHORITY for line in lines) else ()
        kinds = {line.kind for line in lines if not line.marker}
        known = [each for each in PLAIN if each in kinds or (RSA in kinds and "rsa" in each)]
        return list(dict.fromkeys([*first, *known, *PLAIN]))

    def missing_host_key(
        self,
        client: paramiko.SSHClient,  # noqa: ARG002 - paramiko gives it
        hostname: str,
        key: paramiko.PKey,
    ) -> None:
        """Return if the key is the host's.

        Raises:
            BadHostKeyException: if the host has another one.
            SSHException: if it is not known, or was revoked.
        """
        # a key that is known without a port is good for every port
        port = WITH_PORT.fullmatch(hostname)
        names = [hostname.lower(), *([port["name"].lower()] if port else [])]
        for_all = [line for line in self._lines if any(line.is_of(name) for name in names)]
        certificate = HostCertificate.of(key)
        shown = {key.asbytes()} | ({certificate.authority} if certificate else set())
        is_marked = any(line.marker == REVOKED and line.key in shown for line in for_all)
        if is_marked or (self._revoked and is_revoked(shown | _blob(key), self._revoked)):
            raise paramiko.SSHException(f"the host key of {hostname!r} was revoked")
        if any(not line.marker and line.key == key.asbytes() for line in for_all):
            return
        trusted = {line.key for line in for_all if line.marker == AUTHORITY}
        if certificate and certificate.authority in trusted:
            certificate.check(names[-1])
            return
        self._refuse_changed(hostname, key)
        if not self._accept_new:
            raise paramiko.SSHException(f"Server {hostname!r} not found in known_hosts")
        self._add(hostname, key)

    def _refuse_changed(self, hostname: str, key: paramiko.PKey) -> None:
        for line in self._lines:
            if line.marker or line.kind != key.get_name() or not line.is_of(hostname.lower()):
                continue
            expected = paramiko.PKey.from_type_string(line.kind, line.key)
            raise paramiko.BadHostKeyException(hostname, key, expected)

    def _add(self, hostname: str, key: paramiko.PKey) -> None:
        """Append a line; paramiko's own policy would write the file anew, without comments."""
        self._lines.append(Line("", hostname, key.get_name(), key.asbytes()))
        if self._new is None:
            return
        # as OpenSSH does it: where it cannot be kept, the host is known until the run ends
        with suppress(OSError):
            self._new.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _append(self._new, f"{hostname} {key.get_name()} {key.get_base64()}\n".encode())


def _blob(key: paramiko.PKey) -> set[bytes]:
    """The certificate that came with a key, if one did."""
    blob = key.public_blob
    return {blob.key_blob} if blob else set()


def _append(path: Path, line: bytes) -> None:
    flags = os.O_APPEND | os.O_CREAT | os.O_RDWR
    with os.fdopen(os.open(path, flags, 0o600), "a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            # the last line may have been written without its end
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)


def _said(command: Sequence[str]) -> Iterator[Line]:
    if not command:
        return
    try:
        text = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=TIMEOUT_SECONDS
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise paramiko.SSHException(f"KnownHostsCommand: {error}") from None
    yield from parse(text.decode("utf-8", "replace"))


def _read(path: str) -> tuple[Line, ...]:
    try:
        now = Path(path).stat()
        return _parsed(path, now.st_mtime_ns, now.st_size)
    except OSError:
        return ()


@lru_cache(maxsize=64)
def _parsed(path: str, *_: int) -> tuple[Line, ...]:
    """A file is read once for all hosts, until it changes."""
    return tuple(parse(Path(path).read_text(encoding="utf-8", errors="replace")))


def _matches(pattern: str, name: str) -> bool:
    """Only ``*`` and ``?`` stand for others: brackets are before a port."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _hashes(text: str, name: str) -> bool:
    try:
        salt, wanted = (base64.b64decode(part) for part in text.split("|")[2:4])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), wanted)
